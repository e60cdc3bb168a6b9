"""Text in, batches out: corpora, tokens, memory-mapped shards, and batches as a pure function of (seed, step)."""

from __future__ import annotations

from thalweg.data.batches import Batches, validation_batches
from thalweg.data.corpus import CORPORA, Corpus, Document, corpus
from thalweg.data.prepared import Prepared, open_prepared
from thalweg.data.quantiles import QuantileTable, quantile_benchmark, quantile_slices
from thalweg.data.shards import Shard, cached_shard, open_shard, write_shard
from thalweg.data.tokens import TOKENIZERS, BPETokenizer, ByteTokenizer, Tokenizer, tokenize, tokenizer, train_bpe

__all__ = [
    "CORPORA",
    "TOKENIZERS",
    "BPETokenizer",
    "Batches",
    "ByteTokenizer",
    "Corpus",
    "Document",
    "Prepared",
    "QuantileTable",
    "Shard",
    "Tokenizer",
    "cached_shard",
    "corpus",
    "open_prepared",
    "open_shard",
    "quantile_benchmark",
    "quantile_slices",
    "tokenize",
    "tokenizer",
    "train_bpe",
    "validation_batches",
    "write_shard",
]
