from __future__ import annotations

from pathlib import Path

import pytest

from preparing_parts import Killer, mixed_corpus, settings, tree
from thalweg.data import prepare
from thalweg.data.preparing.engines import make_engine
from thalweg.errors import InputError


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return mixed_corpus(tmp_path / "texts")


def test_pool_gives_the_same_files(texts: Path, tmp_path: Path):
    asked = settings(texts, tokens={"tokenizer": "bpe:300"})
    prepare(asked, tmp_path / "memory")
    prepare(asked, tmp_path / "pool", engine="pool", workers=2)
    assert tree(tmp_path / "memory") == tree(tmp_path / "pool")


def test_killed_worker_is_replaced(texts: Path, tmp_path: Path):
    asked = settings(texts, scores=[{"name": "length", "function": "given:f"}])
    prepare(asked, tmp_path / "memory", functions={"f": Killer(tmp_path / "none", times=0)})
    prepare(asked, tmp_path / "pool", engine="pool", workers=2, functions={"f": Killer(tmp_path / "killed", times=2)})
    assert len(list(tmp_path.glob("killed*"))) == 2
    assert tree(tmp_path / "pool") == tree(tmp_path / "memory")


def test_worker_that_always_dies_ends_the_work(texts: Path, tmp_path: Path):
    asked = settings(texts, scores=[{"name": "length", "function": "given:f"}], part_mb=64)
    with pytest.raises(RuntimeError, match="died 3 times in a row"):
        prepare(
            asked, tmp_path / "out", engine="pool", workers=1, functions={"f": Killer(tmp_path / "killed", times=99)}
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "pol"}, "did you mean 'pool'"),
        ({"name": "pool", "workers": -1}, "workers = -1"),
        ({"name": "pool", "address": "auto"}, "is for the engine ray"),
    ],
)
def test_unusable_engines_are_named(arguments: dict, words: str):
    with pytest.raises(InputError, match=words):
        make_engine(**arguments)


def test_error_of_a_part_comes_through_the_pool(texts: Path, tmp_path: Path):
    (texts / "one.jsonl").write_bytes(b"{")
    with pytest.raises(InputError, match=r"one\.jsonl line 1 \(byte 0\) is not JSON"):
        prepare(settings(texts), tmp_path / "out", engine="pool", workers=2)
