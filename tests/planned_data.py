"""Small prepared data in memory and on disk whose every token says which document and place it is."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thalweg.data import Prepared, Tokenizer, write_shard

END = 0


class NumberTokenizer:
    """Text of numbers as those numbers."""

    name, vocab_size, end, fingerprint = "numbers", 2**20, END, "numbers"

    def encode(self, text: str) -> np.ndarray:
        return np.array(text.split(), dtype=np.uint32)

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(str(int(i)) for i in ids)

    def save(self, path: str | Path) -> Path:
        raise NotImplementedError


def in_memory(lengths: Sequence[int], *, offset: int = 0, name: str = "mem", **columns: object) -> Prepared:
    """Documents of these lengths; token t of document d is offset + begin[d] + t + 1, nowhere else."""
    begin = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = np.arange(begin[-1], dtype=np.int64) + 1 + offset
    made = {key: np.asarray(values) for key, values in columns.items()}
    made.setdefault("id", np.array([f"{name}-{i}" for i in range(len(lengths))]))
    return Prepared(name, (tokens,), begin, made, 2**40, END, "numbers", f"{name}{list(lengths)}{sorted(columns)}")


def folder(path: Path, parts: Sequence[dict[str, object]], tokenizer: Tokenizer | None = None) -> Path:
    """A prepared folder as ``prepare`` writes it: each part has ``texts`` (of numbers by default) and columns."""
    listed = []
    for number, part in enumerate(parts):
        name = f"part-{number:05d}"
        columns = {key: np.asarray(values) for key, values in part.items() if key != "texts"}
        packed = io.BytesIO()
        np.savez(packed, **columns)
        (path / "tokens").mkdir(parents=True, exist_ok=True)
        (path / "tokens" / f"{name}.columns.npz").write_bytes(packed.getvalue())
        shard = write_shard(path / "tokens" / name, part["texts"], tokenizer or NumberTokenizer())
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        listed.append({"name": name, "sha256": shard.header.sha256, "columns_sha256": digest})
    manifest = {"format": "thalweg-prepared", "version": 1, "shards": listed}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path
