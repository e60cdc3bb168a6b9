from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from preparing_parts import Killer, mixed_corpus, settings, story, tree, write_lines
from thalweg.data import open_prepared, prepare
from thalweg.data.preparing import finishing, staging
from thalweg.errors import InputError, Interrupted


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return mixed_corpus(tmp_path / "texts")


def test_folder_says_what_was_done_and_opens_as_prepared(texts: Path, tmp_path: Path):
    made = prepare(settings(texts), tmp_path / "out")
    steps = {step["step"]: step for step in made.manifest["steps"]}
    assert [steps[name]["documents"] for name in ("read", "filters", "exact", "minhash")] == [40, 40, 35, 30]
    assert steps["exact"]["removed"] == steps["minhash"]["removed"] == {"duplicate": 5}
    assert steps["minhash"]["exact_jaccard"]["below_threshold"] == 0
    assert len(made.manifest["parts"]) > 3
    found = open_prepared(tmp_path / "out", verify=True)
    assert len(found) == made.manifest["documents"] == 30
    assert found.count == made.manifest["tokens"] == made.manifest["bytes"] + 30
    assert found.scores == ("grade", "length")
    kept = {f"d{99 - i:02d}" for i in range(30)} - {f"d{99 - i}" for i in (0, 1, 2, 3, 4, 10, 11, 12, 13, 14)}
    kept |= {f"d{99 - i:02d}" for i in range(30, 40)}  # of each pair the smaller id, which comes later
    assert set(found.ids.tolist()) == kept
    assert found.columns["duplicates"].sum() == 40
    for i, name in enumerate(found.ids.tolist()):
        number = 99 - int(name[1:])
        assert found.columns["grade"][i] == number / 2
        assert found.columns["domain"][i] == "ab"[number % 2]
        assert found.columns["length"][i] == len(found.tokens(i)) - 1
        assert found.columns["duplicates"][i] == 1 + (number >= 30)
        if number < 30:
            assert found.decoder().decode(found.tokens(i)[:-1]) == story(number)
    assert not (tmp_path / "out" / ".work").exists()


def test_documents_and_tokens_are_the_same_in_the_same_order(texts: Path, tmp_path: Path):
    made = prepare(settings(texts, tokens={"tokenizer": "bpe:300"}), tmp_path / "out")
    found = open_prepared(tmp_path / "out")
    rows = [row for part in made.manifest["parts"] for row in _rows(tmp_path / "out", part["name"])]
    assert [row["id"] for row in rows] == found.ids.tolist()
    decoder = found.decoder()
    assert [row["text"] for row in rows] == [decoder.decode(found.tokens(i)[:-1]) for i in range(len(found))]
    assert list(rows[0]) == ["id", "text", "source", "domain", "grade", "length", "duplicates"]
    assert {row["source"] for row in rows} == {"made"}


def _rows(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / "documents" / f"{name}.parquet").to_pylist()


def test_every_step_is_optional(texts: Path, tmp_path: Path):
    made = prepare({"inputs": [{"path": str(texts)}]}, tmp_path / "out")
    assert made.manifest["documents"] == 40
    assert made.manifest["tokenizer"] is None
    assert not (tmp_path / "out" / "tokens").exists()
    assert made.manifest["steps"][-1]["step"] == "filters"  # which takes out texts of white space alone


def test_smaller_parts_keep_the_same_documents(texts: Path, tmp_path: Path):
    for mb in (0.002, 64):
        prepare(settings(texts, part_mb=mb), tmp_path / str(mb))
    small, large = (open_prepared(tmp_path / str(mb)) for mb in (0.002, 64))
    assert len(small.parts) > len(large.parts) == 1
    assert sorted(small.ids.tolist()) == sorted(large.ids.tolist())


def test_same_again_is_done_and_other_steps_are_refused(texts: Path, tmp_path: Path):
    out = tmp_path / "out"
    first = prepare(settings(texts), out)
    before = tree(out)
    again = prepare(settings(texts), out)
    assert (first.fresh, again.fresh) == (True, False)
    assert again.manifest == json.loads(json.dumps(first.manifest))
    assert tree(out) == before
    with pytest.raises(InputError, match="holds what another preparation or other inputs gave"):
        prepare(settings(texts, exact=None), out)
    other = prepare(settings(texts, exact=None, minhash=None, part_mb=64), out, fresh=True)
    assert other.manifest["documents"] == len(open_prepared(out, verify=True)) == 40
    assert len(list((out / "tokens").glob("*.bin"))) == 1
    write_lines(texts / "three.jsonl", [{"id": "new", "text": story(500), "grade": 1, "kind": "a"}])
    with pytest.raises(InputError, match="other inputs"):
        prepare(settings(texts, exact=None, minhash=None, part_mb=64), out)


@pytest.mark.parametrize("name", ["read", "write"])
def test_interrupted_preparation_goes_on_without_doing_parts_again(
    texts: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    asked = settings(texts)
    prepare(asked, tmp_path / "whole")
    seen: list[str] = []
    with pytest.raises(Interrupted, match="3 of "):
        prepare(
            asked,
            tmp_path / "out",
            progress=lambda step, done, total: seen.append(step),
            stop=lambda: seen.count(name) >= 3,
        )
    assert not (tmp_path / "out" / "manifest.json").exists()
    (tmp_path / "out" / "tokens").mkdir(exist_ok=True)
    with pytest.raises(InputError, match="its preparation did not end"):
        open_prepared(tmp_path / "out")
    made: list[str] = []
    kind, place = {"read": (staging, "record_batches"), "write": (finishing, "write_shard")}[name]
    original = getattr(kind, place)
    monkeypatch.setattr(kind, place, lambda *a, **k: made.append(place) or original(*a, **k))
    parts = len(prepare(asked, tmp_path / "out").manifest["parts"])
    assert len(made) == parts - 3
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_killed_process_resumes_to_the_same_bytes(texts: Path, tmp_path: Path):
    asked = settings(texts, scores=[{"name": "length", "function": "given:f"}])
    child = os.fork()
    if child == 0:
        dying = Killer(tmp_path / "killed")
        calls: list[int] = []

        def later(found: list[str]) -> list[float]:
            calls.append(1)
            return dying(found) if len(calls) == 3 else [float(len(text)) for text in found]

        prepare(asked, tmp_path / "out", functions={"f": later})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    kept = list((tmp_path / "out" / ".work" / "parts").glob("*.json"))
    assert len(kept) == 2
    times = [file.stat().st_mtime_ns for file in kept]
    plain = [{"name": "length", "statistic": "characters"}]
    assert not (tmp_path / "out" / "manifest.json").exists()
    prepare(settings(texts, scores=plain), tmp_path / "out")  # what was killed does not stand in the way of another
    prepare(settings(texts, scores=plain), tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert all(time for time in times)


@pytest.mark.parametrize("suffix", ["parquet", "npz", "json", "bin", "offsets.npy", "columns.npz"])
def test_full_disk_leaves_nothing_half_written_and_resumes(
    texts: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    prepare(settings(texts), tmp_path / "whole")
    replace, left = os.replace, [4]

    def full(source: str, target: str | Path) -> None:
        if str(target).endswith(f".{suffix}"):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    out = tmp_path / "out"
    with pytest.raises(OSError, match=r"no space left for .*finished parts are kept") as caught:
        prepare(settings(texts), out)
    assert caught.value.errno == errno.ENOSPC
    assert not list(out.rglob("*.tmp"))
    assert not (out / "manifest.json").exists()
    monkeypatch.undo()
    prepare(settings(texts), out)
    assert tree(out) == tree(tmp_path / "whole")


def test_shortened_file_of_a_finished_part_is_made_again(texts: Path, tmp_path: Path):
    prepare(settings(texts), tmp_path / "whole")
    count: list[int] = []
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        prepare(settings(texts), out, progress=lambda *a: count.append(1), stop=lambda: len(count) > 8)
    for file in (out / ".work" / "parts").glob("*.bands.npy"):
        file.write_bytes(file.read_bytes()[:-8])
    prepare(settings(texts), out)
    assert tree(out) == tree(tmp_path / "whole")


def test_two_at_once_are_refused(texts: Path, tmp_path: Path):
    def second(*_: object) -> None:
        with pytest.raises(InputError, match="another preparation is writing there"):
            prepare(settings(texts), tmp_path / "out")

    assert prepare(settings(texts), tmp_path / "out", progress=second).manifest["documents"] == 30


@pytest.mark.parametrize("mb", [0.002, 64])
def test_equal_ids_are_refused_with_both_places(texts: Path, tmp_path: Path, mb: float):
    write_lines(texts / "three.jsonl", [{"id": "new", "text": "x", "grade": 1, "kind": "a"}])
    with open(texts / "three.jsonl", "a") as file:
        file.write(json.dumps({"id": "d98", "text": story(77), "grade": 1, "kind": "a"}))
    with pytest.raises(InputError, match=r"one\.jsonl byte \d+ and \S+three\.jsonl byte 52 both have the id 'd98'"):
        prepare(settings(texts, part_mb=mb), tmp_path / "out")


def test_sources_are_compared_apart_unless_all_are_asked_for(tmp_path: Path):
    rows = [{"text": story(i)} for i in range(6)]
    for name in "ab":
        write_lines(tmp_path / f"{name}.jsonl", rows)
    inputs = [{"path": str(tmp_path / f"{name}.jsonl")} for name in "ab"]
    for within, count in (("source", 12), ("all", 6)):
        for step in ("exact", "minhash"):
            made = prepare({"inputs": inputs, step: {"within": within}}, tmp_path / f"{step}-{within}")
            assert made.manifest["documents"] == count


def test_confirmed_edges_reach_the_threshold_and_chains_are_summed(tmp_path: Path):
    words = story(1, 400).replace(".", "").split()
    texts = [" ".join([*words[: 400 - 12 * i], *story(50 + i, 12 * i).split()]) for i in range(5)]
    write_lines(tmp_path / "a.jsonl", [{"text": text, "id": str(i)} for i, text in enumerate(texts)])
    asked = {"inputs": [{"path": str(tmp_path / "a.jsonl"), "id": "id"}], "tokens": {}}
    loose = prepare({**asked, "minhash": {"threshold": 0.7, "check": 99}}, tmp_path / "loose")
    exact = prepare({**asked, "minhash": {"threshold": 0.7, "confirm": True}}, tmp_path / "confirmed")
    for made in (loose, exact):
        found = open_prepared(made.folder)
        assert found.columns["duplicates"].sum() == 5
    report = exact.manifest["steps"][-1]
    pairs = loose.manifest["steps"][-1]["exact_jaccard"]
    assert report["candidate_pairs"] == pairs["pairs"] - pairs["below_threshold"]


def test_nothing_left_is_an_error(texts: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no document is left of 40"):
        prepare(settings(texts, filters={"limits": {"words": [5000, 6000]}}), tmp_path / "out")


def test_memory_grows_with_the_batch_and_not_with_the_corpus(tmp_path: Path):
    """Python's and numpy's own allocations at their highest, of a corpus four times as large in as large parts."""
    import tracemalloc

    peaks = []
    for copies in (1, 4):
        rows = [{"text": story(i, 200)} for i in range(200 * copies)]
        path = write_lines(tmp_path / f"{copies}.jsonl", rows)
        asked = {"inputs": [{"path": str(path)}], "minhash": {}, "tokens": {}, "part_mb": 0.2}
        tracemalloc.start()
        prepare(asked, tmp_path / f"out{copies}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_order_of_time_and_engine_is_not_in_the_manifest(texts: Path, tmp_path: Path):
    text = json.dumps(prepare(settings(texts), tmp_path / "out").manifest)
    assert str(time.localtime().tm_year) not in text.replace(str(tmp_path), "")
    assert np.isfinite(prepare(settings(texts), tmp_path / "out").seconds)
