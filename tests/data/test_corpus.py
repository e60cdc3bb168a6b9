from __future__ import annotations

import json
from pathlib import Path

import pytest

from thalweg.data import CORPORA, corpus
from thalweg.errors import InputError


def test_folder_is_read_in_order_of_names_without_hidden_or_foreign_files(tmp_path: Path):
    for name in ("b.txt", "a/z.md", "a/b.py", ".git/x.txt", ".hidden.txt", "image.png", "c.rst"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "blank.txt").write_text(" \n")
    found = corpus(tmp_path)
    assert [(d.name, d.text, d.domain) for d in found.documents] == [
        ("a/b.py", "a/b.py", "code"),
        ("a/z.md", "a/z.md", "prose"),
        ("b.txt", "b.txt", "prose"),
        ("c.rst", "c.rst", "prose"),
    ]
    assert {d.split for d in found.documents} == {"train", "validation"}
    assert found.fingerprint == corpus(str(tmp_path)).fingerprint


def test_single_file_keeps_its_end_for_validation_and_says_so(tmp_path: Path):
    lines = [f"line {i}\n" for i in range(1000)]
    (tmp_path / "one.log").write_text("".join(lines))
    found = corpus(tmp_path / "one.log")
    head, tail = found.documents
    assert head.text + tail.text == "".join(lines)
    assert (head.split, tail.split) == ("train", "validation")
    assert head.text.endswith("\n")
    assert 0.04 < len(tail.text) / len("".join(lines)) <= 0.05
    assert "last 5 %" in found.notes[0]


@pytest.mark.parametrize("text", ["no newline at all " * 20, "a" * 99 + "\n", "ab", "x" * 200 + "\n\n"])
def test_single_file_without_a_line_near_its_end_is_still_split(tmp_path: Path, text: str):
    (tmp_path / "one.txt").write_text(text)
    head, tail = corpus(tmp_path / "one.txt").documents
    assert head.text + tail.text == text
    assert head.text
    assert tail.text


def test_json_lines_are_documents(tmp_path: Path):
    rows = [{"text": f"document {i}\nsecond line", "id": i} for i in range(40)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    found = corpus(tmp_path / "d.jsonl")
    assert [d.text for d in found.documents] == [row["text"] for row in rows]
    assert found.documents[4].name == "d.jsonl:5"
    assert 0 < len(found.split("validation")) < 10


@pytest.mark.parametrize(
    "line", ["{", '{"txt": "a"}', '["text"]', '{"text": 5}', '{"text": null}', '"text"', '{"text": "\\ud800"}']
)
def test_bad_json_line_is_named(tmp_path: Path, line: str):
    (tmp_path / "d.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(InputError, match=r"d\.jsonl line 2: expected one JSON object"):
        corpus(tmp_path)


def test_empty_json_text_is_named(tmp_path: Path):
    (tmp_path / "d.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(InputError, match='line 1: "text" is empty'):
        corpus(tmp_path)


def test_other_encodings_are_refused_with_place_and_fix(tmp_path: Path):
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.txt is not UTF-8 text \(byte 3\).*iconv"):
        corpus(tmp_path)


def test_byte_order_mark_is_not_text(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfabc\n")
    assert "".join(d.text for d in corpus(tmp_path / "a.txt").documents) == "abc\n"


def test_unknown_names_and_empty_folders(tmp_path: Path):
    with pytest.raises(InputError, match="'stdlb' is neither a file or folder nor a known name: did you mean 'stdlib'"):
        corpus("stdlb")
    with pytest.raises(InputError, match="holds no text"):
        corpus(tmp_path)
    assert set(CORPORA) == {"stdlib", "plays", "kjv", "mini"}
