from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preparing_parts import story, write_lines
from thalweg.data import prepare
from thalweg.errors import InputError, MissingExtra


def run(path: Path, out: Path, *, skip: bool = False, part_mb: float = 64, **keys: object) -> dict:
    asked = {"inputs": [{"path": str(path), **keys}], "part_mb": part_mb, "on_bad": "skip" if skip else "stop"}
    made = prepare(asked, out)
    rows = [
        row
        for part in made.manifest["parts"]
        for row in pq.read_table(out / "documents" / f"{part['name']}.parquet").to_pylist()
    ]
    return {"rows": rows, "manifest": made.manifest}


def test_folder_of_every_format_is_read_in_order_of_names(tmp_path: Path):
    folder = tmp_path / "in"
    write_lines(folder / "a.jsonl", [{"text": "in a line"}, {"text": "in another"}])
    (folder / "b").mkdir()
    (folder / "b" / "c.md").write_text("\ufeffin a file")
    with gzip.open(folder / "d.jsonl.gz", "wt") as file:
        file.write('{"text": "packed"}\n\n{"text": "naïve"}')
    pq.write_table(pa.table({"text": ["in", "two", "groups"]}), folder / "e.parquet", row_group_size=2)
    (folder / "f.png").write_bytes(b"\x89")
    (folder / ".g.txt").write_text("hidden")
    found = run(folder, tmp_path / "out", part_mb=1e-5)["rows"]
    assert [row["text"] for row in found] == [
        "in a line", "in another", "in a file", "packed", "naïve", "in", "two", "groups",
    ]  # fmt: skip
    assert [row["id"] for row in found[:3]] == ["in/a.jsonl@000000000000", "in/a.jsonl@000000000022", "in/b/c.md"]
    assert {row["source"] for row in found} == {row["domain"] for row in found} == {"in"}


@pytest.mark.parametrize("mb", [1e-5, 3e-5, 1e-4, 1])
def test_lines_are_read_once_wherever_the_pieces_are_cut(tmp_path: Path, mb: float):
    rows = [{"text": f"{i} " + "x" * (7 * i % 40)} for i in range(12)]
    path = write_lines(tmp_path / "a.jsonl", rows)
    assert [row["text"] for row in run(path, tmp_path / "out", part_mb=mb)["rows"]] == [row["text"] for row in rows]


def test_keys_and_columns_of_any_name(tmp_path: Path):
    rows = [{"body": "one", "n": 7, "where": "web", "edu": 2}, {"body": "two", "n": "b", "where": "law", "edu": None}]
    pq.write_table(
        pa.table({k: [str(row[k]) if k == "n" else row[k] for row in rows] for k in rows[0]}), tmp_path / "a.parquet"
    )
    write_lines(tmp_path / "a.jsonl", rows)
    keys = {"text": "body", "id": "n", "domain": "where", "scores": ["edu"], "source": "s"}
    for name in ("a.jsonl", "a.parquet"):
        found = run(tmp_path / name, tmp_path / f"out-{name}", **keys)["rows"]
        assert [(row["id"], row["text"], row["domain"], row["source"]) for row in found] == [
            ("7", "one", "web", "s"),
            ("b", "two", "law", "s"),
        ]
        assert found[0]["edu"] == 2
        assert math.isnan(found[1]["edu"])
    assert run(tmp_path / "a.jsonl", tmp_path / "o", text="body", domain="=x")["rows"][0]["domain"] == "x"


def test_corpora_by_name_keep_their_domains(tmp_path: Path):
    found = run(Path("stdlib"), tmp_path / "out", split="validation")["rows"]
    assert {row["domain"] for row in found} == {"prose", "code"}
    assert found[0]["id"].startswith("stdlib/")


def test_datasets_as_objects_and_as_saved_folders(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    rows = {"text": [story(i) for i in range(12)], "q": [float(i) for i in range(12)]}
    made = datasets.Dataset.from_dict(rows)
    asked = {"inputs": [{"path": "dataset:d", "scores": ["q"]}], "part_mb": 0.001}
    outcome = prepare(asked, tmp_path / "object", datasets={"d": made})
    assert outcome.manifest["documents"] == 12
    assert outcome.manifest["inputs"][0]["path"] == "dataset:d"
    assert prepare(asked, tmp_path / "object", datasets={"d": made}).fresh is False
    datasets.DatasetDict(train=made.select(range(2, 12)), test=made.select([0])).save_to_disk(tmp_path / "both")
    found = run(tmp_path / "both", tmp_path / "saved", split="train", part_mb=0.002, scores=["q"])
    assert [row["text"] for row in found["rows"]] == rows["text"][2:]
    assert [row["q"] for row in found["rows"]] == rows["q"][2:]
    with pytest.raises(InputError, match=r"split = 'trian' is not in .*did you mean 'train'"):
        run(tmp_path / "both", tmp_path / "o", split="trian")
    with pytest.raises(InputError, match="has no column 'texts': did you mean 'text'"):
        run(tmp_path / "both", tmp_path / "o", split="train", text="texts")
    with pytest.raises(InputError, match="no dataset 'd' was given"):
        prepare(asked, tmp_path / "o")


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        (b'{"text": "caf\xe9"}', "not UTF-8", r"line 2 \(byte 17\) is not UTF-8 at byte 30 of the file"),
        (b'{"text": "a"', "not JSON", r"line 2 \(byte 17\) is not JSON"),
        (b'["text"]', "not JSON", r"line 2 \(byte 17\) is no JSON object"),
        (b'{"txt": "a"}', "no text", r"line 2 \(byte 17\): 'text' is absent"),
        (b'{"text": 5}', "no text", r"line 2 \(byte 17\): 'text' is of type int"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_bad_lines_stop_with_their_place_or_are_counted(tmp_path, line, reason, words, packed):
    path = tmp_path / ("a.jsonl.gz" if packed else "a.jsonl")
    data = b'{"text": "fine"}\n' + line + b'\n{"text": "also fine"}\n'
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError, match=rf'{words}.*on_bad = "skip"'):
        run(path, tmp_path / "out")
    found = run(path, tmp_path / "out", skip=True)
    assert [row["text"] for row in found["rows"]] == ["fine", "also fine"]
    assert found["manifest"]["unreadable"]["reasons"] == {reason: 1}
    assert str(path) in found["manifest"]["unreadable"]["places"][0]


@pytest.mark.parametrize(
    ("row", "keys", "words"),
    [
        ({"text": "a", "id": None}, {"id": "id"}, "'id' is None, expected a text or whole number"),
        ({"text": "a"}, {"id": "id"}, "'id' is None"),
        ({"text": "a"}, {"domain": "kind"}, "'kind' is None, expected text"),
        ({"text": "a"}, {"scores": ["edu"]}, "the score 'edu' is absent, expected a number or null"),
        ({"text": "a", "edu": "high"}, {"scores": ["edu"]}, "the score 'edu' is 'high'"),
        ({"text": "a", "edu": True}, {"scores": ["edu"]}, "the score 'edu' is True"),
    ],
)
def test_missing_values_are_named(tmp_path: Path, row: dict, keys: dict, words: str):
    path = write_lines(tmp_path / "a.jsonl", [row])
    with pytest.raises(InputError, match=rf"a\.jsonl line 1 \(byte 0\): {words}"):
        run(path, tmp_path / "out", **keys)


def test_lone_surrogates_are_no_text(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800"}\n{"text": "b"}\n')
    with pytest.raises(InputError, match="line 1"):
        run(tmp_path / "a.jsonl", tmp_path / "out")
    assert len(run(tmp_path / "a.jsonl", tmp_path / "out", skip=True)["rows"]) == 1


def test_text_file_that_is_not_utf8(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "in" / "b.txt").write_text("fine")
    with pytest.raises(InputError, match=r"a\.txt is not UTF-8 text \(byte 3\)"):
        run(tmp_path / "in", tmp_path / "out")
    found = run(tmp_path / "in", tmp_path / "out", skip=True)
    assert [row["text"] for row in found["rows"]] == ["fine"]


def test_cut_gzip_keeps_what_stands_before_the_break(tmp_path: Path):
    data = gzip.compress("".join(json.dumps({"text": story(i)}) + "\n" for i in range(200)).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.jsonl\.gz is broken after byte \d+ of its content"):
        run(tmp_path / "a.jsonl.gz", tmp_path / "out")
    found = run(tmp_path / "a.jsonl.gz", tmp_path / "out", skip=True)
    assert [row["text"] for row in found["rows"]] == [story(i) for i in range(len(found["rows"]))]
    assert 20 < len(found["rows"]) < 180
    assert found["manifest"]["unreadable"]["reasons"] == {"broken gzip": 1}


def parquet(path: Path) -> bytes:
    table = pa.table({"text": [story(i) for i in range(60)]})
    pq.write_table(table, path, row_group_size=20, compression="none", use_dictionary=False, write_page_checksum=True)
    return path.read_bytes()


def test_broken_parquet_file_and_row_group(tmp_path: Path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.parquet"
    data = parquet(path)
    pq.write_table(pa.table({"text": ["fine"]}), tmp_path / "in" / "b.parquet")
    path.write_bytes(data[:-20])
    with pytest.raises(InputError, match=r"a\.parquet is no whole Parquet file .*on_bad"):
        run(tmp_path / "in", tmp_path / "out")
    found = run(tmp_path / "in", tmp_path / "out", skip=True)
    assert [row["text"] for row in found["rows"]] == ["fine"]
    assert found["manifest"]["unreadable"]["reasons"] == {"Parquet file": 1}
    second = data.index(story(20).encode()) - 12  # in the header of the second group's page
    path.write_bytes(data[:second] + b"\xff" * 6 + data[second + 6 :])
    with pytest.raises(InputError, match=r"a\.parquet row group 1 is broken after row 20"):
        run(tmp_path / "in", tmp_path / "other")
    found = run(tmp_path / "in", tmp_path / "other", skip=True)
    assert [row["text"] for row in found["rows"]] == [story(i) for i in (*range(20), *range(40, 60))] + ["fine"]
    assert found["manifest"]["unreadable"]["reasons"] == {"Parquet row group": 1}


def test_parquet_with_null_text_or_bytes_that_are_no_utf8(tmp_path: Path):
    broken = pa.array([b"fine", b"caf\xe9", None], type=pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet row 1: 'text' is of type bytes"):
        run(tmp_path / "a.parquet", tmp_path / "out")
    found = run(tmp_path / "a.parquet", tmp_path / "out", skip=True)
    assert found["manifest"]["unreadable"]["reasons"] == {"no text": 2}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "absent is neither a file or folder nor one of"),
        ("empty", "empty holds no file to read"),
        ("nothing.jsonl", "the inputs hold no document"),
    ],
)
def test_nothing_to_read_is_named(tmp_path: Path, name: str, words: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.jsonl").touch()
    with pytest.raises(InputError, match=words):
        run(tmp_path / name, tmp_path / "out")


def test_missing_column_of_scores_names_the_nearest(tmp_path: Path):
    pq.write_table(pa.table({"text": ["a"], "edu_score": [1.0]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet has no column 'edu': did you mean 'edu_score'"):
        run(tmp_path / "a.parquet", tmp_path / "out", scores=["edu"])


def test_sources_and_scores_of_equal_names_are_refused(tmp_path: Path):
    write_lines(tmp_path / "a" / "x.jsonl", [{"text": "a"}])
    write_lines(tmp_path / "b" / "x.jsonl", [{"text": "b"}])
    inputs = [{"path": str(tmp_path / name), "source": "s"} for name in "ab"]
    with pytest.raises(InputError, match=r"are both s/x\.jsonl: .*different source names"):
        prepare({"inputs": inputs}, tmp_path / "out")


def test_missing_extras_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import sys

    write_lines(tmp_path / "a.jsonl", [{"text": "a"}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r'pyarrow is not installed: pip install "thalweg\[data\]"'):
        run(tmp_path / "a.jsonl", tmp_path / "out")
