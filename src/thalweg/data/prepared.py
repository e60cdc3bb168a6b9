"""Prepared data: documents as tokens, with an id and scores each, opened without reading them.

Four things open alike: a folder that ``prepare`` wrote (``manifest.json``, ``tokens/part-*``), one token shard, a flat
file of tokens (nanoGPT's .bin, OLMo's .npy) as windows of fixed length, and a corpus in memory. Only numpy is needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from thalweg.data.columns import Columns
from thalweg.data.corpus import corpus as load_corpus
from thalweg.data.document import Corpus
from thalweg.data.shards import Shard, open_shard
from thalweg.data.tokens import Tokenizer, tokenizer
from thalweg.errors import InputError, suggest

__all__ = ["Prepared", "from_corpus", "open_flat", "open_prepared"]

FORMAT = "thalweg-prepared"
VERSION = 1
FLAT = (".bin", ".npy")
FLAT_DTYPES = ("uint16", "uint32", "int32", "int64", "uint8")
OWN = ("id", "domain", "duplicates")
"""Columns that are no scores."""


@dataclass(frozen=True)
class Prepared:
    """Documents as tokens.

    Attributes:
        name: where it came from.
        parts: integer arrays of tokens, memory-mapped or in memory.
        begin: int64 (documents + 1,): document i is tokens begin[i] … begin[i + 1] - 1 of the parts put end to end,
            its end token included.
        columns: one array (documents,) a column, or a mapping that reads them when asked; ``id``, ``domain``,
            ``duplicates`` and scores.
        vocab_size: ids are below it; 0 where nobody said.
        end: id of the token after each document; -1 where there is none (flat files).
        tokenizer: fingerprint of the tokenizer, or an empty string.
        fingerprint: SHA-256 over tokens and columns, as their files declare them.
        folder: where ``tokenizer.json`` would lie; None in memory.
        end_text: the end token as text, by which a foreign ``tokenizer.json`` is read; empty for our own.
    """

    name: str
    parts: tuple[np.ndarray, ...] = field(repr=False)
    begin: np.ndarray = field(repr=False)
    columns: Mapping[str, np.ndarray] = field(repr=False)
    vocab_size: int
    end: int
    tokenizer: str
    fingerprint: str
    folder: Path | None = None
    end_text: str = ""

    def __len__(self) -> int:
        return len(self.begin) - 1

    @property
    def count(self) -> int:
        """Tokens, end tokens included."""
        return int(self.begin[-1])

    @property
    def flat(self) -> bool:
        """Whether the documents are windows of one long text, so that the token after one is the next one's first."""
        return self.end < 0

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, int64 (documents,)."""
        return np.diff(self.begin)

    @property
    def ids(self) -> np.ndarray:
        """The id of each document: fixed-width text, or numbers where none was given."""
        return self.columns["id"] if "id" in self.columns else np.arange(len(self))

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the score columns."""
        return tuple(sorted(name for name in self.columns if name not in OWN))

    def column(self, name: str) -> np.ndarray:
        """One column (documents,).

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.columns:
            raise InputError(f"{self.name} has no column {name!r}: {suggest(name, self.columns) or 'it has none'}")
        return self.columns[name]

    @cached_property
    def bases(self) -> np.ndarray:
        """Where each part begins in the parts put end to end, int64 (parts + 1,)."""
        return np.concatenate([[0], np.cumsum([len(part) for part in self.parts])]).astype(np.int64)

    def tokens(self, document: int) -> np.ndarray:
        """The tokens of one document, its end token included."""
        first, last = int(self.begin[document]), int(self.begin[document + 1])
        part = int(np.searchsorted(self.bases, first, side="right")) - 1
        return self.parts[part][first - self.bases[part] : last - self.bases[part]]

    def decoder(self) -> Tokenizer | None:
        """The tokenizer that made the tokens, where it can be found: beside them, or the bytes."""
        beside = self.folder / "tokenizer.json" if self.folder else None
        told = {"end": self.end_text} if self.end_text else {}
        found = tokenizer(beside, **told) if beside is not None and beside.is_file() else tokenizer("byte")
        return found if found.fingerprint == self.tokenizer else None


def open_prepared(
    source: str | Path | Corpus | Shard,
    *,
    verify: bool = False,
    tokenizer: Tokenizer | None = None,
    dtype: str = "",
    context: int = 0,
) -> Prepared:
    """Opens prepared data, whatever form it has.

    Args:
        source: a prepared folder; a token shard (by its name without suffix, or open); a flat .bin or .npy file of
            tokens; or a corpus in memory, by its name or the path of a text file or folder (its training documents).
        verify: read all files and compare their SHA-256 with what was written down.
        tokenizer: for a corpus.
        dtype: for a flat .bin file, e.g. "uint16".
        context: for a flat file, tokens of a window.

    Raises:
        InputError: nothing of these is there, a part is absent, damaged or changed, or an argument is missing.
    """
    if isinstance(source, Corpus):
        return from_corpus(source, tokenizer)
    if isinstance(source, Shard):
        return _from_shards("a shard", [source], {}, [])
    path = Path(source)
    if (path / "manifest.json").is_file():
        return _open_folder(path, verify)
    if path.with_name(f"{path.name}.json").is_file():
        columns = path.with_name(f"{path.name}.columns.npz")
        shard = open_shard(path, verify=verify)
        files = [columns] if columns.is_file() else []
        return _from_shards(str(path), [shard], Columns(files, [shard.header.documents]), [_sha256(f) for f in files])
    if path.is_file() and path.suffix in FLAT:
        return open_flat(path, dtype=dtype, context=context)
    if path.is_dir() and (path / "tokens").is_dir():
        raise InputError(f"{path} has tokens but no manifest.json: its preparation did not end; run prepare again")
    return from_corpus(load_corpus(source), tokenizer)


def from_corpus(text: Corpus, tokenizer: Tokenizer | None) -> Prepared:
    """The training documents of a corpus, tokenized in memory; ids are their names.

    Raises:
        InputError: no tokenizer was given, or there is no training document.
    """
    if tokenizer is None:
        raise InputError(f"{text.name!r} is text: say with which tokenizer it is read")
    documents = text.split("train")
    if not documents:
        raise InputError(f"corpus {text.name!r} has no training document")
    tokens = [np.append(ids := tokenizer.encode(each.text), ids.dtype.type(tokenizer.end)) for each in documents]
    begin = np.concatenate([[0], np.cumsum([len(part) for part in tokens])]).astype(np.int64)
    columns = {
        "id": np.array([each.name for each in documents]),
        "domain": np.array([each.domain for each in documents]),
    }
    fingerprint = hashlib.sha256(f"{text.fingerprint} {tokenizer.fingerprint}".encode()).hexdigest()
    whole = (np.concatenate(tokens),)
    return Prepared(
        text.name, whole, begin, columns, tokenizer.vocab_size, tokenizer.end, tokenizer.fingerprint, fingerprint
    )


def open_flat(path: str | Path, *, dtype: str = "", context: int) -> Prepared:
    """A file of tokens without documents, as windows of ``context`` tokens; a rest shorter than that is left out.

    Args:
        path: .npy, or a headerless .bin of ``dtype``.
        dtype: of a .bin file: uint16, uint32, int32, int64 or uint8.
        context: tokens of a window (>= 1).

    Raises:
        InputError: no dtype, a size that does not fit it, or no whole window.
    """
    path = Path(path)
    if context < 1:
        raise InputError(f"context = {context}: a flat file needs windows of at least one token")
    try:
        if path.suffix == ".npy":
            tokens = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            if dtype not in FLAT_DTYPES:
                raise InputError(f"{path} is a flat file and dtype is {dtype!r}: say one of {', '.join(FLAT_DTYPES)}")
            tokens = np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r")
    except InputError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as tokens of dtype {dtype or 'its header'}: {error}") from None
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise InputError(f"{path} has shape {tokens.shape} and type {tokens.dtype}: expected integers (n,)")
    windows = (len(tokens) - 1) // context
    if windows < 1:
        raise InputError(f"{path} has {len(tokens)} tokens, fewer than one window of {context} and its last target")
    begin = np.arange(windows + 1, dtype=np.int64) * context
    return Prepared(str(path), (tokens,), begin, {}, 0, -1, "", _sha256(path))


def _open_folder(folder: Path, verify: bool) -> Prepared:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        found = (manifest["format"], manifest["version"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder / 'manifest.json'} cannot be read ({error}): prepare the folder anew") from None
    if found != (FORMAT, VERSION):
        raise InputError(f"{folder} is {found[0]} version {found[1]}, this program reads {FORMAT} version {VERSION}")
    names = sorted(path.name.removesuffix(".json") for path in (folder / "tokens").glob("part-*.json"))
    if not names:
        raise InputError(f"{folder} holds documents but no tokens: prepare it with a tokenizer")
    shards = [open_shard(folder / "tokens" / name, verify=verify) for name in names]
    listed = {each["name"]: each for each in manifest.get("shards", [])}
    for name, shard in zip(names, shards, strict=True):
        if listed and (name not in listed or listed[name]["sha256"] != shard.header.sha256):
            raise InputError(f"{folder / 'tokens' / name} is not the shard that the manifest lists: prepare anew")
    if listed and len(listed) != len(names):
        raise InputError(
            f"{folder / 'tokens'} holds {len(names)} shards, the manifest lists {len(listed)}: prepare anew"
        )
    files = [folder / "tokens" / f"{name}.columns.npz" for name in names]
    columns = Columns(files, [shard.header.documents for shard in shards])
    declared = [listed.get(name, {}).get("columns_sha256", "") for name in names]
    hashes = [_sha256(file) if verify or not told else told for file, told in zip(files, declared, strict=True)]
    for file, told, found in zip(files, declared, hashes, strict=True):
        if told and told != found:
            raise InputError(f"{file} differs from the SHA-256 in the manifest: prepare the folder anew")
    end_text = (manifest.get("tokenizer") or {}).get("end_text", "")
    return replace(_from_shards(str(folder), shards, columns, hashes), folder=folder, end_text=end_text)


def _from_shards(name: str, shards: list[Shard], columns: Mapping[str, np.ndarray], hashes: list[str]) -> Prepared:
    first = shards[0].header
    for shard in shards[1:]:
        if (shard.header.tokenizer, shard.header.dtype) != (first.tokenizer, first.dtype):
            raise InputError(f"the shards of {name} come from different tokenizers: prepare them together")
    begin, total = [np.zeros(1, dtype=np.int64)], 0
    for shard in shards:
        begin.append(shard.offsets[1:] + total)
        total += shard.header.count
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(f"{shard.header.sha256} {shard.header.documents} {shard.header.tokenizer}\n".encode())
    digest.update(" ".join(hashes).encode())
    whole = np.concatenate(begin) if len(shards) > 1 else shards[0].offsets
    parts = tuple(np.asarray(shard.tokens) for shard in shards)  # plain arrays index faster than numpy's memmap
    return Prepared(name, parts, whole, columns, first.vocab_size, first.end, first.tokenizer, digest.hexdigest())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
