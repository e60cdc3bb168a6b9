"""Documents in, a prepared folder out: two passes over the parts and a comparison of all documents between them.

    inputs -> pieces -> parts -> [first pass] -> equal ids, equal texts, near-duplicates -> [second pass] -> manifest

The output depends on the inputs and the preparation alone: not on the engine, the number of workers or interruptions.
Finished parts are kept under ``.work`` in the output folder, keyed by content and steps, until the manifest is written.
Memory is that of one batch (1024 documents or 4 MB of text, or the longest document) and 16 MB of a row group a worker,
and in the calling process about 150 bytes and the id a document.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.data.preparing.batches import Bad, arrow
from thalweg.data.preparing.config import Input, MinHash, Preparation, load_preparation
from thalweg.data.preparing.duplicates import Resolution, refuse_equal_ids, resolve
from thalweg.data.preparing.engines import Engine, make_engine
from thalweg.data.preparing.finishing import Finishing, train_tokenizer
from thalweg.data.preparing.manifest import make_manifest
from thalweg.data.preparing.minhash import MinHasher
from thalweg.data.preparing.pieces import Piece, Source, digest, list_sources, parts, pieces
from thalweg.data.preparing.staging import Staged, Staging
from thalweg.data.preparing.steps import Functions, build_steps, fingerprint
from thalweg.data.tokens import Tokenizer, tokenizer
from thalweg.errors import InputError, Interrupted
from thalweg.files import sync_folder, write_atomic

__all__ = ["Outcome", "prepare"]

WORK = ".work"
MANIFEST = "manifest.json"
HASHED = 64
"""Sources hashed by one call of an engine."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a preparation did.

    Attributes:
        folder: where the prepared data lies.
        manifest: what its manifest.json says.
        seconds: the preparation took.
        fresh: False if the folder held the very same data already.
    """

    folder: Path
    manifest: Mapping[str, Any]
    seconds: float
    fresh: bool


def prepare(
    preparation: Preparation | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    engine: str = "memory",
    workers: int = 0,
    address: str = "",
    datasets: Mapping[str, Any] | None = None,
    functions: Functions | None = None,
    fresh: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Prepares documents for training; called again after an interruption it goes on, and at the end does nothing.

    Args:
        preparation: what to do, as an object, a dict or the path of a TOML file.
        out: folder for the result; it is made.
        engine: ``memory`` (this process), ``pool`` (processes) or ``ray`` (Ray Data; extra ``scale``).
        workers: processes of the last two; 0 takes one a core.
        address: of a Ray cluster whose nodes see inputs and output under the same paths; empty starts a local Ray.
        datasets: what ``dataset:NAME`` in an input's path stands for: ``datasets.Dataset`` objects.
        functions: what ``given:NAME`` in a score's function stands for.
        fresh: replace what another preparation left in ``out``.
        progress: called with the pass, parts done and parts in all.
        stop: asked now and then; True ends the work in a state that resumes.

    Raises:
        InputError: unusable values or input, equal ids, or ``out`` holds another preparation.
        MissingExtra: pyarrow (extra ``data``), Ray (``scale``) or datasets (``hf``) is needed and absent.
        Interrupted: ``stop`` turned true.
        OSError: the disk refuses; what is finished is kept, nothing is half-written.
    """
    began = time.perf_counter()
    arrow()
    if isinstance(preparation, (str, Path)):
        preparation = load_preparation(preparation)
    elif not isinstance(preparation, Preparation):
        preparation = Preparation.from_dict(dict(preparation))
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out = {folder} is a file: name a folder")
    work = folder / WORK
    workplace = make_engine(engine, workers=workers, address=address)
    try:
        with _alone(work), _full_disk_named(folder):
            told = _Teller(progress or (lambda *_: None), stop or (lambda: False))
            readable = _with_datasets(preparation, datasets or {}, work)
            manifest, made = _prepare(readable, folder, workplace, told, functions or {}, fresh)
            shutil.rmtree(work)
    finally:
        workplace.close()
    return Outcome(folder, manifest, time.perf_counter() - began, made)


@dataclass(frozen=True, slots=True)
class _Teller:
    progress: Callable[[str, int, int], None]
    stop: Callable[[], bool]

    def run(self, engine: Engine, name: str, job: Callable[[int], dict], count: int) -> list[dict[str, Any]]:
        """All results of a pass, in order."""
        if self.stop():
            raise Interrupted("what is finished is kept")
        found = engine.run(job, range(count), lambda done: self.progress(name, done, count), self.stop)
        return [found[number] for number in range(count)]


def _prepare(
    preparation: Preparation, folder: Path, engine: Engine, told: _Teller, functions: Functions, fresh: bool
) -> tuple[Mapping[str, Any], bool]:
    inputs, work = preparation.inputs, folder / WORK
    sources = list_sources(inputs)
    groups = [sources[i : i + HASHED] for i in range(0, len(sources), HASHED)]
    hashed = told.run(engine, "hash", _Digests(groups, inputs), len(groups))
    digests = [each for found in hashed for each in found["files"]]
    found, bad = _pieces(preparation, sources, digests)
    grouped = parts(found, int(preparation.part_mb * 1e6))
    ops, key = build_steps(preparation, functions, work)
    keys = _part_keys(preparation, key, grouped)
    named = _named_tokenizer(preparation)
    whole = fingerprint(
        keys, *(preparation.to_dict()[step] for step in ("exact", "minhash", "tokens")), named and named.fingerprint
    )
    before = _earlier(folder, whole, fresh)
    if before is not None:
        return before, False
    near = preparation.minhash
    skip, exact = preparation.on_bad == "skip", preparation.exact is not None
    staging = Staging(work / "parts", inputs, grouped, keys, ops, preparation.read_scores, skip, exact, _hasher(near))
    counts = told.run(engine, "read", staging, len(grouped))
    staged = [Staged(work / "parts", each) for each in keys]
    told.progress("compare", 0, 1)
    refuse_equal_ids(staged, grouped, inputs)
    resolution = resolve(staged, grouped, inputs, preparation.exact, near)
    told.progress("compare", 1, 1)
    left = [number for number, each in enumerate(resolution.duplicates) if each.any()]
    if not left:
        raise InputError(f"no document is left of {sum(each['documents'] for each in counts)}: loosen the filters")
    marks = _marks(folder, whole, resolution, left)
    used = named or _trained_tokenizer(preparation, marks, staged, resolution)
    kept = [staged[number] for number in left]
    finishing = Finishing(folder, marks, kept, preparation.score_names, used)
    written = told.run(engine, "write", finishing, len(left))
    if used is not None and used.name != "byte":
        used.save(folder / "tokenizer.json")
    shown = replace(preparation, inputs=tuple(_as_named(each) for each in inputs))
    manifest = make_manifest(shown, whole, sources, digests, counts, bad, resolution, written, used)
    sync_folder(folder)
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False) + "\n")
    return manifest, True


@dataclass(frozen=True)
class _Digests:
    """Hashes a group of sources, by its number."""

    groups: Sequence[Sequence[Source]]
    inputs: tuple[Input, ...]

    def __call__(self, number: int) -> dict[str, Any]:
        found = []
        for source in self.groups[number]:
            key, size = digest(source, self.inputs[source.input].split if source.kind == "datasets" else "")
            found.append({"sha256": key, "bytes": size})
        return {"files": found}


def _pieces(preparation: Preparation, sources: Sequence[Source], digests: list[dict]) -> tuple[list[Piece], list[Bad]]:
    found: list[Piece] = []
    bad: list[Bad] = []
    for source, known in zip(sources, digests, strict=True):
        each, size = preparation.inputs[source.input], int(preparation.part_mb * 1e6)
        for piece in pieces(source, each, known["sha256"], known["bytes"], size):
            if isinstance(piece, Bad):
                bad.append(piece)
            else:
                found.append(piece)
    if bad and preparation.on_bad == "stop":
        raise InputError(f'{bad[0].message}: fetch it anew, or pass over such input with on_bad = "skip"')
    if not found:
        raise InputError("the inputs hold no document: every file is empty or broken")
    return found, bad


def _hasher(near: MinHash | None) -> MinHasher | None:
    if near is None:
        return None
    return MinHasher(threshold=near.threshold, permutations=near.permutations, words=near.words, seed=near.seed)


def _part_keys(preparation: Preparation, steps: str, grouped: Sequence[Sequence[Piece]]) -> list[str]:
    """What decides each part's files: the content it reads and how, and the steps of the first pass."""
    settings = preparation.to_dict()
    near = {**(settings["minhash"] or {"none": True}), "within": "", "confirm": False, "check": 0}
    shared = [steps, near, settings["exact"] is not None, preparation.read_scores, preparation.on_bad]
    ways = [
        {**way, "path": "", "source": each.name}
        for way, each in zip(settings["inputs"], preparation.inputs, strict=True)
    ]
    keys = []
    for group in grouped:
        read = [
            (each.key, each.start, each.stop, each.source.kind, each.source.name, ways[each.source.input])
            for each in group
        ]
        keys.append(fingerprint(shared, read)[:40])
    return keys


def _earlier(folder: Path, whole: str, fresh: bool) -> Mapping[str, Any] | None:
    """The manifest that is there, if it is of this very preparation; makes room where it is not."""
    path = folder / MANIFEST
    if path.is_file():
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            same = manifest["fingerprint"] == whole
        except (OSError, ValueError, KeyError, TypeError):
            manifest, same = {}, False
        if same and not fresh:
            return manifest
        if not fresh:
            raise InputError(
                f"out = {folder} holds what another preparation or other inputs gave: choose another folder, or "
                "replace it with fresh"
            )
        path.unlink()
    elif (folder / "documents").exists() and not (folder / WORK / "parts").exists():
        if not fresh:
            raise InputError(f"out = {folder} holds other files under documents: choose another folder")
    return None


def _marks(folder: Path, whole: str, resolution: Resolution, left: Sequence[int]) -> Path:
    """The folder of the second pass; without one of this preparation, files of an earlier one are taken away."""
    marks = folder / WORK / f"written-{whole[:40]}"
    if not marks.is_dir():
        for old in (folder / WORK).glob("written-*"):
            shutil.rmtree(old)
        for file in [*folder.glob("documents/part-*"), *folder.glob("tokens/part-*"), folder / "tokenizer.json"]:
            file.unlink(missing_ok=True)
        marks.mkdir()
    for place, number in enumerate(left):
        with open(marks / f"{place:05d}.npy", "wb") as file:
            np.save(file, resolution.duplicates[number])
    return marks


def _named_tokenizer(preparation: Preparation) -> Tokenizer | None:
    asked = preparation.tokens
    if asked is None or asked.tokenizer.startswith("bpe:"):
        return None
    return tokenizer(asked.tokenizer, end=asked.end)


def _trained_tokenizer(
    preparation: Preparation, marks: Path, staged: Sequence[Staged], resolution: Resolution
) -> Tokenizer | None:
    asked = preparation.tokens
    if asked is None:
        return None
    path = marks / "tokenizer.json"
    if not path.is_file():
        size = int(asked.tokenizer.removeprefix("bpe:"))
        train_tokenizer(staged, resolution.duplicates, vocab_size=size, megabytes=asked.train_mb).save(path)
    return tokenizer(path)


def _with_datasets(preparation: Preparation, datasets: Mapping[str, Any], work: Path) -> Preparation:
    """Dataset objects as Parquet files under ``work``, so that every process can read them and a resume knows them."""
    changed = []
    for each in preparation.inputs:
        if not each.path.startswith("dataset:"):
            changed.append(each)
            continue
        name = each.path.removeprefix("dataset:")
        if name not in datasets:
            raise InputError(f"inputs: no dataset {name!r} was given: prepare(..., datasets={{{name!r}: ...}})")
        path = work / "datasets" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        datasets[name].to_parquet(str(temporary))
        os.replace(temporary, path)
        changed.append(replace(each, path=str(path), source=each.name, format="parquet"))
    return replace(preparation, inputs=tuple(changed))


def _as_named(each: Input) -> Input:
    """An input with its dataset named as the caller did, not by the file in the work folder."""
    path = Path(each.path)
    return replace(each, path=f"dataset:{path.stem}") if path.parts[-3:-1] == (WORK, "datasets") else each


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Holds the output folder against other processes, and takes away what a killed one left half-written."""
    import fcntl

    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out = {work.parent} cannot be made: {error.strerror}") from None
    with open(work / "lock", "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"out = {work.parent}: another preparation is writing there: wait for it") from None
        for left in work.parent.rglob(".*.tmp"):
            left.unlink(missing_ok=True)
        yield


@contextmanager
def _full_disk_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"no space left for {folder}: finished parts are kept; make room and run the same again"
        raise OSError(error.errno, message) from error
