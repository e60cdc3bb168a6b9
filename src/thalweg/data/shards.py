"""Tokens on disk: a flat binary file to map into memory, and a header that says what it is.

A shard ``NAME`` is three files: ``NAME.bin`` (little-endian uint16, or uint32 for vocabularies above 65,536),
``NAME.offsets.npy`` (int64, documents + 1: document i is tokens offsets[i] … offsets[i + 1] − 1, its end token
included) and ``NAME.json`` (the header). The header is written last and replaced first: where it is, the rest is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from thalweg.data.document import Corpus, Split
from thalweg.data.tokens import Tokenizer, encode_all
from thalweg.errors import InputError
from thalweg.files import write_atomic

__all__ = ["Header", "Shard", "cached_shard", "open_shard", "write_shard"]

FORMAT = "thalweg-tokens"
VERSION = 1
DTYPES = ("<u2", "<u4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a shard says of itself.

    Attributes:
        dtype: ``<u2`` or ``<u4``.
        count: tokens.
        documents: documents.
        vocab_size: ids are below it.
        end: id of the token after each document.
        tokenizer: fingerprint of the tokenizer.
        corpus: fingerprint of the corpus, or an empty string.
        sha256: of the binary file.
        format: always ``thalweg-tokens``.
        version: of the format.
    """

    dtype: str
    count: int
    documents: int
    vocab_size: int
    end: int
    tokenizer: str
    corpus: str
    sha256: str
    format: str = FORMAT
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Shard:
    """An open shard.

    Attributes:
        tokens: read-only memory-mapped array (count,).
        offsets: int64 (documents + 1,).
        header: what the shard says of itself.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    header: Header


def write_shard(path: str | Path, texts: Iterable[str], tokenizer: Tokenizer, *, corpus: str = "") -> Shard:
    """Tokenizes documents into a shard; memory is that of a million characters or the longest document.

    Args:
        path: the shard's name with its folder, e.g. ``cache/train``; the three suffixes are appended.
        texts: documents.
        tokenizer: its end token follows each document.
        corpus: fingerprint to record.

    Raises:
        OSError: the disk refuses; no header is left, so nothing half-written can be opened.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _part(path, "json").unlink(missing_ok=True)
    dtype = DTYPES[tokenizer.vocab_size > 2**16]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    digest, offsets, count = hashlib.sha256(), [0], 0
    try:
        with open(temporary, "wb") as file:
            for ids in encode_all(texts, tokenizer):
                data = np.append(ids, ids.dtype.type(tokenizer.end)).astype(dtype).tobytes()
                digest.update(data)
                file.write(data)
                count += len(ids) + 1
                offsets.append(count)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, _part(path, "bin"))
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    packed = io.BytesIO()
    np.save(packed, np.asarray(offsets, dtype="<i8"))
    write_atomic(_part(path, "offsets.npy"), packed.getvalue())
    header = Header(
        dtype=dtype,
        count=count,
        documents=len(offsets) - 1,
        vocab_size=tokenizer.vocab_size,
        end=tokenizer.end,
        tokenizer=tokenizer.fingerprint,
        corpus=corpus,
        sha256=digest.hexdigest(),
    )
    write_atomic(_part(path, "json"), json.dumps(asdict(header), indent=1) + "\n")
    return open_shard(path)


def open_shard(path: str | Path, *, verify: bool = False) -> Shard:
    """Maps a shard into memory.

    Args:
        path: the shard's name with its folder, without suffix.
        verify: also read the whole file and compare its SHA-256.

    Raises:
        InputError: a part is absent, truncated or corrupt, or of another format version.
    """
    path = Path(path)
    header = _read_header(_part(path, "json"))
    data = _part(path, "bin")
    itemsize = np.dtype(header.dtype).itemsize
    size = data.stat().st_size if data.is_file() else 0
    if size != header.count * itemsize:
        raise InputError(f"{data} has {size} bytes but its header says {header.count * itemsize}: write the shard anew")
    offsets = _read_offsets(_part(path, "offsets.npy"), header)
    if verify:
        with open(data, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != header.sha256:
                raise InputError(f"{data} differs from the SHA-256 in its header: write the shard anew")
    empty = np.empty(0, dtype=header.dtype)
    tokens = np.memmap(data, dtype=header.dtype, mode="r") if header.count else empty
    return Shard(tokens, offsets, header)


def cached_shard(corpus: Corpus, tokenizer: Tokenizer, split: Split, folder: str | Path) -> Shard:
    """The shard of one split under ``folder``: opened if it was written for this very text and tokenizer, else written.

    The name holds both fingerprints, so a changed text or tokenizer gets a shard of its own; one that is damaged is
    written anew. Of several processes that ask at once one writes and the others wait.
    """
    fingerprint = corpus.fingerprint
    path = Path(folder) / f"{split}-{fingerprint[:12]}-{tokenizer.fingerprint[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(path.with_name(f".{path.name}.lock")):
        with suppress(InputError):
            shard = open_shard(path, verify=True)
            if (shard.header.corpus, shard.header.tokenizer) == (fingerprint, tokenizer.fingerprint):
                return shard
        texts = (document.text for document in corpus.split(split))
        return write_shard(path, texts, tokenizer, corpus=fingerprint)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Waits for and holds a lock that ends with the process."""
    import fcntl

    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _part(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _read_offsets(path: Path, header: Header) -> np.ndarray:
    try:
        offsets = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        offsets = np.empty(0)
    if offsets.shape != (header.documents + 1,) or offsets[0] != 0 or offsets[-1] != header.count:
        raise InputError(f"{path} is absent or does not fit its header: write the shard anew")
    return offsets


def _read_header(path: Path) -> Header:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = (values["format"], values["version"])
    except FileNotFoundError:
        raise InputError(f"there is no token shard at {path}: write it first") from None
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path} is no header of a token shard: write the shard anew") from None
    if found != (FORMAT, VERSION):
        raise InputError(f"{path} is {found[0]} version {found[1]}, this program reads {FORMAT} version {VERSION}")
    try:
        header = Header(**values)
    except TypeError:
        raise InputError(f"{path} lacks entries or has unknown ones: write the shard anew") from None
    if header.dtype not in DTYPES:
        raise InputError(f"{path} says dtype {header.dtype!r}, known are {', '.join(DTYPES)}: write the shard anew")
    return header
