"""Text to token ids and back: bytes, or byte-pair encoding trained on the corpus.

Source: byte-level BPE as in GPT-2 (Radford et al. 2019, section 2.2), through the ``tokenizers`` library.
Differs: 1. every byte is in the alphabet, so decoding is the exact inverse of encoding; 2. the text ``<|end|>`` inside
a document is encoded as ordinary text, only the end of a document gives the token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from thalweg.data.document import Corpus, Split
from thalweg.errors import InputError, MissingExtra, suggest
from thalweg.files import write_atomic

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

__all__ = ["TOKENIZERS", "BPETokenizer", "ByteTokenizer", "Tokenizer", "tokenize", "tokenizer", "train_bpe"]

END = "<|end|>"
"""The token after each document."""

BATCH_CHARACTERS = 1 << 20
"""Characters encoded together, or one document if it is longer."""


class Tokenizer(Protocol):
    """What the rest of the library asks of a tokenizer.

    Attributes:
        name: ``byte`` or ``bpe``.
        vocab_size: ids are 0 … vocab_size − 1.
        end: id of the token after each document.
        fingerprint: SHA-256 of everything that decides the ids.
    """

    name: str
    vocab_size: int
    end: int
    fingerprint: str

    def encode(self, text: str) -> np.ndarray:
        """Ids, uint16 or uint32 (n,), without an end token."""

    def decode(self, ids: Iterable[int]) -> str:
        """Text; exact inverse of ``encode``, and defined for every other sequence of ids."""

    def save(self, path: str | Path) -> Path:
        """Writes what ``tokenizer(path)`` reads."""


class ByteTokenizer:
    """The 256 bytes of UTF-8 as ids; the byte 0, which text does not use, ends a document."""

    name = "byte"
    vocab_size = 256
    end = 0
    fingerprint = hashlib.sha256(b"thalweg byte tokenizer 1").hexdigest()

    def encode(self, text: str) -> np.ndarray:
        """Ids uint16 (bytes,).

        Raises:
            InputError: ``text`` holds a lone surrogate, which UTF-8 cannot write.
        """
        try:
            return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint16)
        except UnicodeEncodeError as error:
            raise InputError(f"text has a lone surrogate at character {error.start}: it is no valid Unicode") from None

    def decode(self, ids: Iterable[int]) -> str:
        """Text; bytes that are no UTF-8, which a model may generate, become U+FFFD."""
        return bytes(int(i) for i in ids).decode("utf-8", errors="replace")

    def save(self, path: str | Path) -> Path:
        """Writes a JSON file that names the type."""
        return write_atomic(path, json.dumps({"thalweg": "byte"}) + "\n")


class BPETokenizer:
    """A trained byte-pair encoding, kept as the text of a ``tokenizer.json``.

    Args:
        definition: contents of a ``tokenizer.json`` as the ``tokenizers`` library writes it.
        end: the token that ends a document.

    Raises:
        InputError: the definition cannot be read or has no token ``end``.
        MissingExtra: the ``tokenizers`` library is absent.
    """

    name = "bpe"

    def __init__(self, definition: str, *, end: str = END) -> None:
        try:
            self._backend: Backend = _tokenizers().Tokenizer.from_str(definition)
        except MissingExtra:
            raise
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"the tokenizer definition cannot be read ({error})") from None
        self._backend.encode_special_tokens = True
        self._definition = definition
        found = self._backend.token_to_id(end)
        if found is None:
            raise InputError(f"the tokenizer has no token {end!r}: name its end-of-document token with end=")
        self.end = found
        self.vocab_size = self._backend.get_vocab_size()
        self.fingerprint = hashlib.sha256(f"{definition}\0{end}".encode()).hexdigest()

    def encode(self, text: str) -> np.ndarray:
        """Ids (n,), uint16 if the vocabulary fits, else uint32."""
        ids = self._backend.encode(text, add_special_tokens=False).ids
        return np.asarray(ids, dtype=np.uint16 if self.vocab_size <= 2**16 else np.uint32)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """``encode`` of every text, on all cores unless TOKENIZERS_PARALLELISM is ``false``."""
        dtype = np.uint16 if self.vocab_size <= 2**16 else np.uint32
        found = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(each.ids, dtype=dtype) for each in found]

    def decode(self, ids: Iterable[int]) -> str:
        """Text, end tokens written out."""
        return self._backend.decode([int(i) for i in ids], skip_special_tokens=False)

    def save(self, path: str | Path) -> Path:
        """Writes a ``tokenizer.json`` that Hugging Face's libraries read as well."""
        return write_atomic(path, self._definition)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._definition, self._backend.id_to_token(self.end))


TOKENIZERS: MappingProxyType[str, type[ByteTokenizer] | type[BPETokenizer]] = MappingProxyType(
    {"byte": ByteTokenizer, "bpe": BPETokenizer}
)
"""Kinds of tokenizers by name; ``bpe`` has to be trained (``train_bpe``) or read from a file."""


def tokenizer(name: str | Path, *, end: str = END) -> Tokenizer:
    """The byte tokenizer by its name, or a saved one by its path.

    Args:
        name: ``byte``, or the path of a file that ``save`` or the ``tokenizers`` library wrote.
        end: for a foreign file: its end-of-document token.

    Raises:
        InputError: no such name or file, or the file is no tokenizer.
    """
    if str(name) == "byte":
        return ByteTokenizer()
    path = Path(name)
    if not path.is_file():
        raise InputError(f"tokenizer {str(name)!r} is no file and no known name: {suggest(str(name), ['byte'])}")
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        if json.loads(text) == {"thalweg": "byte"}:
            return ByteTokenizer()
        return BPETokenizer(text, end=end)
    except MissingExtra:
        raise
    except ValueError as error:
        raise InputError(f"tokenizer {path}: {error}") from None


def encode_all(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[np.ndarray]:
    """Ids of every text, in order; a tokenizer with ``encode_batch`` gets BATCH_CHARACTERS at a time."""
    batch = getattr(tokenizer, "encode_batch", None)
    if batch is None:
        yield from map(tokenizer.encode, texts)
        return
    held, size = [], 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield from batch(held)
            held, size = [], 0
    yield from batch(held)


def train_bpe(texts: Iterable[str], *, vocab_size: int) -> BPETokenizer:
    """Learns merges until the vocabulary holds ``vocab_size`` tokens; the same texts give the same tokenizer.

    Args:
        texts: the training split only, or validation losses lie.
        vocab_size: ≥ 257: 256 bytes and the end token; fewer merges are learnt where the texts offer fewer.

    Raises:
        InputError: ``vocab_size`` is too small.
        MissingExtra: the ``tokenizers`` library is absent.
    """
    if vocab_size < 257:
        raise InputError(f"vocab_size is {vocab_size}: bytes and the end token already take 257")
    library = _tokenizers()
    backend = library.Tokenizer(library.models.BPE())
    backend.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return BPETokenizer(backend.to_str())


def tokenize(corpus: Corpus, tokenizer: Tokenizer, split: Split) -> np.ndarray:
    """All tokens of one split, (n,), uint16 or uint32: each document followed by the end token."""
    parts = []
    for document in corpus.split(split):
        ids = tokenizer.encode(document.text)
        parts += [ids, np.array([tokenizer.end], dtype=ids.dtype)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint16)


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingExtra("tokenizers", "data") from None
    return tokenizers


def _restored(definition: str, end: str) -> BPETokenizer:
    return BPETokenizer(definition, end=end)
