"""Sentences for users, and files that are whole or not there."""

from __future__ import annotations

import os

import pytest

from thalweg import files
from thalweg.errors import InputError, Interrupted, MissingExtra, suggest
from thalweg.files import write_atomic


def test_suggest_names_the_nearest_or_all():
    assert suggest("cosin", ["wsd", "cosine"]) == "did you mean 'cosine'?"
    assert suggest("xyz", ["wsd", "cosine"]) == "known: cosine, wsd"


def test_kinds_of_errors():
    assert issubclass(InputError, ValueError)
    assert str(MissingExtra("tokenizers", "data")) == 'tokenizers is not installed: pip install "thalweg[data]"'
    assert issubclass(MissingExtra, InputError)
    assert issubclass(MissingExtra, ImportError)
    assert not issubclass(Interrupted, InputError)


def test_write_atomic_makes_folders_and_replaces(tmp_path):
    path = write_atomic(tmp_path / "a" / "b.txt", "one")
    assert write_atomic(path, "zwei ü").read_text(encoding="utf-8") == "zwei ü"
    assert write_atomic(path, b"\xff").read_bytes() == b"\xff"
    assert [file.name for file in path.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("fault", ["fsync", "replace"])
def test_a_fault_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fault):
    path = write_atomic(tmp_path / "x", "old")

    def refuse(*words: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files.os, fault, refuse)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
