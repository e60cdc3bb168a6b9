from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from planned_data import NumberTokenizer, folder
from thalweg.data import ByteTokenizer, Corpus, Document, open_prepared, open_shard
from thalweg.errors import InputError

PARTS = [
    {"texts": ["1 2 3", "4"], "id": ["a", "bb"], "quality": [0.5, np.nan], "duplicates": [3, 1]},
    {"texts": ["5 6"], "id": ["ccc"], "quality": [1.5], "duplicates": [1]},
]


def test_a_folder_of_two_parts_reads_as_one(tmp_path):
    made = open_prepared(folder(tmp_path / "p", PARTS), verify=True)
    assert len(made) == 3
    assert made.lengths.tolist() == [4, 2, 3]
    assert made.ids.tolist() == ["a", "bb", "ccc"]
    assert [made.tokens(i).tolist() for i in range(3)] == [[1, 2, 3, 0], [4, 0], [5, 6, 0]]
    assert made.scores == ("quality",)
    assert np.array_equal(made.column("quality"), [0.5, np.nan, 1.5], equal_nan=True)
    assert made.column("duplicates").tolist() == [3, 1, 1]
    assert (made.count, made.vocab_size, made.end, made.flat) == (9, 2**20, 0, False)


def test_opening_reads_no_column(tmp_path, monkeypatch):
    path = folder(tmp_path / "p", PARTS)
    monkeypatch.setattr("thalweg.data.columns._load", lambda *_: pytest.fail("a column was read"))
    assert len(open_prepared(path)) == 3


def test_the_fingerprint_follows_tokens_and_columns_but_not_the_place(tmp_path):
    first = open_prepared(folder(tmp_path / "a", PARTS)).fingerprint
    assert open_prepared(folder(tmp_path / "b", PARTS)).fingerprint == first
    scored = [PARTS[0] | {"quality": [0.6, np.nan]}, PARTS[1]]
    assert open_prepared(folder(tmp_path / "c", scored)).fingerprint != first
    text = [PARTS[0] | {"texts": ["1 2 4", "4"]}, PARTS[1]]
    assert open_prepared(folder(tmp_path / "d", text)).fingerprint != first


def test_one_shard_opens_by_name_or_open(tmp_path):
    path = folder(tmp_path / "p", PARTS) / "tokens" / "part-00000"
    by_name = open_prepared(path)
    assert by_name.ids.tolist() == ["a", "bb"]
    bare = open_prepared(open_shard(path))
    assert bare.ids.tolist() == [0, 1]
    assert bare.tokens(1).tolist() == [4, 0]


def test_a_corpus_gives_its_training_documents():
    text = Corpus("c", (Document("x", "ab", domain="code"), Document("y", "z", "validation"), Document("w", "q")))
    made = open_prepared(text, tokenizer=ByteTokenizer())
    assert made.ids.tolist() == ["x", "w"]
    assert made.column("domain").tolist() == ["code", "text"]
    assert made.tokens(0).tolist() == [97, 98, 0]
    assert made.decoder() is not None
    with pytest.raises(InputError, match="say with which tokenizer"):
        open_prepared(text)


@pytest.mark.parametrize("suffix", ["bin", "npy"])
def test_flat_files_are_windows(tmp_path, suffix: str):
    path = tmp_path / f"flat.{suffix}"
    tokens = np.arange(25, dtype="<u2")
    tokens.tofile(path) if suffix == "bin" else np.save(path, tokens)
    made = open_prepared(path, dtype="uint16" if suffix == "bin" else "", context=8)
    assert (len(made), made.flat, made.count) == (3, True, 24)
    assert made.tokens(2).tolist() == list(range(16, 24))


def broken(tmp_path, what: str):
    path = folder(tmp_path / "p", PARTS)
    tokens = path / "tokens"
    if what == "manifest":
        (path / "manifest.json").unlink()
    elif what == "half manifest":
        (path / "manifest.json").write_text('{"format":')
    elif what == "version":
        (path / "manifest.json").write_text(json.dumps({"format": "thalweg-prepared", "version": 7}))
    elif what == "shard":
        (tokens / "part-00001.json").unlink()
    elif what == "cut":
        (tokens / "part-00001.bin").write_bytes((tokens / "part-00001.bin").read_bytes()[:-4])
    elif what == "changed":
        data = bytearray((tokens / "part-00001.bin").read_bytes())
        data[0] ^= 1
        (tokens / "part-00001.bin").write_bytes(data)
    elif what == "columns":
        (tokens / "part-00000.columns.npz").unlink()
    elif what == "half columns":
        (tokens / "part-00000.columns.npz").write_bytes(b"PK not a zip")
    elif what == "changed columns":
        np.savez(tokens / "part-00001.columns.npz", id=np.array(["ccc"]), quality=np.array([9.0]), duplicates=[1])
    elif what == "other columns":
        with zipfile.ZipFile(tokens / "part-00000.columns.npz", "a") as archive:
            archive.writestr("extra.npy", b"")
    elif what == "another part":
        for each in tokens.glob("part-00001.*"):
            each.with_name(each.name.replace("00001", "00002")).write_bytes(each.read_bytes())
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("manifest", "has tokens but no manifest.json: its preparation did not end"),
        ("half manifest", "manifest.json cannot be read"),
        ("version", "version 7, this program reads"),
        ("shard", "holds 1 shards, the manifest lists 2"),
        ("cut", r"part-00001.bin has 8 bytes but its header says 12"),
        ("changed", "part-00001.bin differs from the SHA-256"),
        ("columns", "part-00000.columns.npz is absent"),
        ("changed columns", "part-00001.columns.npz differs from the SHA-256 in the manifest"),
        ("half columns", "part-00000.columns.npz is damaged"),
        ("other columns", "differ in column 'extra'"),
        ("another part", "is not the shard that the manifest lists"),
    ],
)
def test_what_is_absent_damaged_or_changed_is_named(tmp_path, what: str, message: str):
    with pytest.raises(InputError, match=message):
        open_prepared(broken(tmp_path, what), verify=True)


def test_a_column_that_is_damaged_inside_is_named(tmp_path):
    path = folder(tmp_path / "p", [PARTS[0] | {"quality": [0.5]}])
    with pytest.raises(InputError, match=r"\(1,\) values of 'quality' for 2 documents"):
        open_prepared(path).column("quality")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 8}, "dtype is '': say one of uint16"),
        ({"dtype": "float32", "context": 8}, "dtype is 'float32'"),
        ({"dtype": "uint16", "context": 99}, "fewer than one window of 99"),
        ({"dtype": "uint16"}, "context = 0"),
        ({"dtype": "int64", "context": 2}, "cannot be read as tokens of dtype int64"),
    ],
)
def test_flat_files_that_do_not_fit_are_refused(tmp_path, arguments: dict, message: str):
    np.arange(25, dtype="<u2").tofile(tmp_path / "flat.bin")
    with pytest.raises(InputError, match=message):
        open_prepared(tmp_path / "flat.bin", **arguments)


def test_an_unknown_column_suggests_the_nearest(tmp_path):
    with pytest.raises(InputError, match="no column 'qualty': did you mean 'quality'"):
        open_prepared(folder(tmp_path / "p", PARTS)).column("qualty")


def test_the_tokenizer_is_found_beside_the_tokens(tmp_path):
    assert open_prepared(folder(tmp_path / "p", PARTS)).decoder() is None
    assert NumberTokenizer.fingerprint == open_prepared(tmp_path / "p").tokenizer
