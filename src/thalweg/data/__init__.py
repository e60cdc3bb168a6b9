"""Text in, batches out: corpora, tokens, memory-mapped shards, and batches as a pure function of (seed, step)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg.data.batches import Batches, validation_batches
from thalweg.data.corpus import CORPORA, Corpus, Document, corpus
from thalweg.data.mixing import MixedBatches
from thalweg.data.prepared import Prepared, open_prepared
from thalweg.data.quantiles import QuantileTable, quantile_benchmark, quantile_slices
from thalweg.data.shards import Shard, cached_shard, open_shard, write_shard
from thalweg.data.tokens import TOKENIZERS, BPETokenizer, ByteTokenizer, Tokenizer, tokenize, tokenizer, train_bpe

if TYPE_CHECKING:
    from thalweg.data.preparing import (
        MinHasher,
        Preparation,
        TextClassifier,
        load_preparation,
        prepare,
        train_classifier,
    )

_LAZY = {
    name: "thalweg.data.preparing"
    for name in ("MinHasher", "Preparation", "TextClassifier", "load_preparation", "prepare", "train_classifier")
}

__all__ = [
    "CORPORA",
    "TOKENIZERS",
    "BPETokenizer",
    "Batches",
    "ByteTokenizer",
    "Corpus",
    "Document",
    "MinHasher",
    "MixedBatches",
    "Preparation",
    "Prepared",
    "QuantileTable",
    "Shard",
    "TextClassifier",
    "Tokenizer",
    "cached_shard",
    "corpus",
    "load_preparation",
    "open_prepared",
    "open_shard",
    "prepare",
    "quantile_benchmark",
    "quantile_slices",
    "tokenize",
    "tokenizer",
    "train_bpe",
    "train_classifier",
    "validation_batches",
    "write_shard",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
