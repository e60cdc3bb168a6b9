"""`thalweg demo` at its smallest: interrupted, resumed, done, drawn; and what it refuses to touch."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nursery import Nursery, Result
from page_reader import Page, assert_inert
from thalweg.cli import demo, main
from thalweg.runs import Run
from thalweg.runs.lock import FolderLock

POOL = str(Path(__file__).parents[1] / "launch" / "pool.py")
CALL = f"(__import__('runpy').run_path({POOL!r})['forked'](), thalweg.cli.main(words))[1]"  # workers as copies: cheap
STEPS = 100
WORDS = ("demo", "--steps", str(STEPS), "--out", "demo")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def stopped(home: Path, nursery: Nursery) -> tuple[Result, dict[str, str]]:
    """A demo that got a Ctrl-C in its pilots, and how far its runs were."""
    child = nursery.start(*WORDS, cwd=home, call=CALL)
    log = home / "demo" / "runs" / "pilot-cosine" / "log.jsonl"
    child.until(lambda: log.exists() and log.read_bytes().count(b"\n") > 5)
    child.kill(signal.SIGINT)
    result = child.wait()
    return result, {path.parent.name: Run.open(path.parent).status for path in home.rglob("run.json")}


@pytest.fixture(scope="module")
def finished(home: Path, stopped: object, nursery: Nursery) -> Result:
    """The same command again."""
    return nursery.run(*WORDS, cwd=home, call=CALL)


@pytest.fixture
def result(home: Path, finished: Result) -> dict[str, Any]:
    return json.loads((home / "demo" / "result.json").read_text())


@pytest.fixture
def again(home: Path, finished: Result, nursery: Nursery) -> Callable[..., Result]:
    """Another command in the same place; no file but the report's may change."""
    assert finished.code == 0

    def call(*words: object) -> Result:
        folder = home / "demo"
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "report.html"]
        before = {path: path.stat().st_mtime_ns for path in files}
        done = nursery.run(*words, cwd=home, call=CALL)
        assert {path: path.stat().st_mtime_ns for path in files} == before
        return done

    return call


def test_ctrl_c_leaves_runs_that_resume(stopped):
    result, runs = stopped
    assert result.code == 130, result.err
    assert result.out == ""
    assert result.err.splitlines()[-1] == "thalweg: interrupted, every run has a checkpoint: the same command resumes"
    assert runs["pilot-cosine"] == "interrupted"
    assert not [name for name in runs if name.startswith("long")]


def test_the_same_command_goes_on_to_table_and_report(finished, home, result):
    assert finished.code == 0, finished.err
    lines = finished.out.splitlines()
    assert lines[0] == f"validation loss after {STEPS} updates, nats/token"
    for line, name in zip(lines[2:5], ("cosine", "wsd", "designed"), strict=True):
        row, run = result["table"][name], Run.open(home / "demo" / "runs" / f"long-{name}")
        measured = run.records("val_loss")[-1]
        assert measured["step"] == STEPS - 1
        assert row["measured"] == pytest.approx(measured["val_loss"], rel=1e-6)
        said = (name, f"{row['final_loss']:.4f}", f"{row['measured']:.4f}", f"{100 * row['error']:+.2f} %")
        assert re.search(r"^{} +{} .* {} +{} ".format(*map(re.escape, said)), line), line
    assert lines[5:] == ["report: demo/report.html"]
    assert "pilots done; fitting the law and writing down its predictions" in finished.err
    total, updates = re.findall(r"^result: (\d+)/(\d+)", finished.err, re.MULTILINE)[-1]
    assert int(total) == int(updates) == sum(run["updates"] for run in result["runs"].values())
    assert "\x1b" not in finished.err
    assert Run.open(home / "demo" / "runs" / "pilot-cosine").state["attempts"] == 2


def test_the_report_needs_nothing_but_itself(finished, home, result):
    content = (home / "demo" / "report.html").read_text(encoding="utf-8")
    page = Page(content)
    assert_inert(page)
    assert page.addresses() == ["data:,"]
    assert "://" not in content
    assert len(content) < 2_000_000
    for row in result["table"].values():
        assert f"{row['final_loss']:.4f}" in page.words
        assert f"{row['measured']:.4f}" in page.words


def test_done_is_said_drawn_and_printed_as_json(again, home, finished, result):
    done = again(*WORDS, "--plot", "forecast.svg")
    assert (done.code, done.err) == (0, "")
    assert done.out == "already done in demo; --fresh starts anew\n" + finished.out
    drawn = (home / "forecast.svg").read_text()
    assert drawn.startswith("<?xml")
    told = again(*WORDS, "--json")
    document = json.loads(told.out)
    assert (document["schema"], document["command"]) == (1, "demo")
    assert document["result"] == result | {"report": "demo/report.html"}


def test_the_default_folder_is_named_after_seed_and_steps(again, home, nursery):
    (home / "elsewhere").mkdir(exist_ok=True)
    shutil.copytree(home / "demo", home / "elsewhere" / f"demo-0-{STEPS}", dirs_exist_ok=True)
    done = nursery.run("demo", "--steps", STEPS, cwd=home, call=CALL, THALWEG_HOME=str(home / "elsewhere"))
    assert done.out.startswith(f"already done in {home}/elsewhere/demo-0-{STEPS}; ")


@pytest.mark.parametrize(("steps", "seed"), [(120, 0), (STEPS, 1)])
def test_another_plan_is_refused(again, steps, seed):
    refused = again("demo", "--steps", steps, "--seed", seed, "--out", "demo")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "thalweg: demo holds another forecast (plan.json differs): choose another folder or remove it\n"
    )


@pytest.mark.parametrize("fresh", [[], ["--fresh"]])
@pytest.mark.parametrize("name", ["photo.jpg", "plan.json", "runs/my-run/run.json"])
def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path, capsys, name, fresh):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text('{"resource_changes": []}')
    assert main(["demo", "--steps", "100", "--out", str(tmp_path), *fresh]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        f"thalweg: {tmp_path} is not a demo's folder (no plan.json of one): choose another with --out\n",
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


class Begun(Exception):
    """The pipeline would start now."""


@pytest.fixture
def begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*words: object) -> None:
        raise Begun

    monkeypatch.setattr(demo, "_run", begin)


def test_fresh_deletes_an_earlier_demo_and_nothing_else(home, finished, tmp_path, begins):
    folder = tmp_path / "demo"
    shutil.copytree(home / "demo", folder)
    (folder / "notes.txt").write_text("mine")
    lock = FolderLock(folder / "runs" / "long-wsd")
    lock.acquire()
    with pytest.raises(ValueError, match="long-wsd is being written"):
        demo.demo(steps=100, out=folder, fresh=True)
    lock.release()
    with pytest.raises(ValueError, match="must end in"):
        demo.demo(steps=100, out=folder, fresh=True, plot=tmp_path / "x.gif")
    assert (folder / "result.json").exists()
    with pytest.raises(Begun):
        demo.demo(steps=100, out=folder, fresh=True)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_folder_left_while_reading_the_text_is_no_strangers(tmp_path, begins):
    for out in (tmp_path, tmp_path / "none"):
        with pytest.raises(Begun):
            demo.demo(steps=100, out=out)
    (tmp_path / "runs" / "data").mkdir(parents=True)
    with pytest.raises(Begun):
        demo.demo(steps=100, out=tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "99"], "steps = 99 must be at least 100"),
        (["--workers", "0"], "workers = 0 must be at least 1"),
        (["--plot", "x.gif"], "must end in .png, .svg or .pdf"),
        (["--out", "file"], "file is not a demo's folder"),
    ],
)
def test_refusals_come_before_any_work(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["demo", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_plans_of_the_allowed_lengths_are_sound():
    for steps in (100, 101, 333, 5000):
        plan = demo.demo_plan(steps, seed=7)
        assert (plan.horizon, plan.pilot_steps, plan.recipe.seed) == (steps, steps // 2, 7)
        for job in plan.pilot_jobs(Path("x")):
            assert len(job.recipe.rates()) == steps // 2
