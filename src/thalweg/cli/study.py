"""thalweg study: list, run and show the studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from cyclopts import App

__all__ = ["app"]

app = App(name="study", help="Claims of papers, tested: list, run, show.")
STRICT = {"reproduced": 0, "not reproduced": 3, "inconclusive": 4}
COLUMNS = ("slug", "title", "arxiv", "scale", "verdict", "effect", "error", "unit", "runs")


@app.command(name="list")
def list_(*, topic: str = "", verdict: str = "", json: bool = False) -> None:
    """List the studies with the verdict they came with.

    Parameters
    ----------
    topic
        Only studies of this topic, as "data" or "schedules and laws"; an unknown one is answered with all names.
    verdict
        Only reproduced, "not reproduced" or inconclusive ones.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit, table
    from thalweg.errors import InputError, suggest
    from thalweg.studies import STUDIES
    from thalweg.studies.base import expected
    from thalweg.studies.topics import OTHER, TOPICS, topic_of

    for option, value, known in (("--topic", topic, [*TOPICS, OTHER]), ("--verdict", verdict, STRICT)):
        if value and value not in known:
            raise InputError(f"{option} {value!r} is not known: {suggest(value, known)}")
    slugs = [slug for slug in STUDIES if topic in ("", topic_of(slug))]
    found = [{column: known[column] for column in COLUMNS} for known in map(expected, slugs)]
    found = [row | {"topic": topic_of(row["slug"])} for row in found if verdict in ("", row["verdict"])]
    if json:
        emit("study list", {"studies": found})
        return
    rows = [(s["slug"], s["topic"], s["verdict"], _effect(s), s["runs"], s["arxiv"], s["title"]) for s in found]
    table(("study", "topic", "verdict", "effect", "seeds", "arXiv", "title"), rows)


@app.command
def run(
    slug: str,
    /,
    *,
    scale: Literal["smoke", "laptop", "gpu"] = "laptop",
    seeds: int = 3,
    device: str = "cpu",
    jobs: int = 1,
    out: Path | None = None,
    strict: bool = False,
    fresh: bool = False,
    json: bool = False,
) -> int:
    """Run a study anew; the same command again resumes, or says again what it found.

    Parameters
    ----------
    slug
        Which study; thalweg study list.
    scale
        smoke (seconds, proves only that it runs), laptop or gpu.
    seeds
        How many seeds, from 0.
    device
        auto, cpu, cuda or mps.
    jobs
        Seeds at the same time.
    out
        Folder of records and figure [default: runs/studies/SLUG-SCALE, in $THALWEG_HOME if set].
    strict
        Exit with 3 if the claim is not reproduced, 4 if the outcome is inconclusive.
    fresh
        Delete an earlier outcome in the folder and start anew.
    json
        Print one JSON object.
    """
    import sys

    from thalweg.cli.output import emit
    from thalweg.runs import run_root
    from thalweg.studies import STUDIES
    from thalweg.studies.base import load_study
    from thalweg.studies.runner import run_study

    load_study(slug, STUDIES)
    folder = out or run_root() / "studies" / f"{slug}-{scale}"
    chosen = _checked(scale, seeds, jobs, device)
    if fresh:
        _clear(folder)
    outcome = run_study(
        slug,
        folder,
        slugs=STUDIES,
        scale=scale,
        seeds=seeds,
        device=chosen,
        jobs=jobs,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    del outcome["records"]
    if json:
        emit("study run", outcome | {"folder": str(folder)})
    else:
        _report(outcome)
    return STRICT[outcome["verdict"]] if strict else 0


@app.command
def show(slug: str, /, *, json: bool = False) -> None:
    """Print a study's card and the numbers it came with.

    Parameters
    ----------
    slug
        Which study; thalweg study list.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit
    from thalweg.errors import InputError, suggest
    from thalweg.studies import STUDIES
    from thalweg.studies.base import expected, folder_of

    if slug not in STUDIES:
        raise InputError(f"study {slug!r} is not known: {suggest(slug, STUDIES)}")
    card = (folder_of(slug) / "card.md").read_text(encoding="utf-8")
    known = expected(slug)
    if json:
        emit("study show", {"card": card, "expected": known})
        return
    print(card)
    print(f"Came with ({known['date']}, {known['device']}; {known['command']}):")
    print(f"{known['verdict']}, effect {_effect(known)} over {known['runs']} seeds")
    _numbers(known)


def _checked(scale: str, seeds: int, jobs: int, device: str) -> str:
    """The device, once nothing is left that would be refused after --fresh has deleted an outcome."""
    from thalweg.errors import InputError
    from thalweg.train.setup import pick_device

    if seeds < 1 or jobs < 1:
        raise InputError(f"--seeds {seeds} and --jobs {jobs} must be at least 1")
    chosen = str(pick_device(device))
    if scale == "gpu" and chosen == "cpu":
        raise InputError("--scale gpu needs a GPU: pass --device cuda on a machine that has one, or --scale laptop")
    return chosen


def _effect(outcome: dict[str, Any]) -> str:
    """Effect and error with their unit; "?" for what too few seeds leave unknown."""
    effect = "?" if outcome["effect"] is None else f"{outcome['effect']:+.3g}"
    error = "?" if outcome["error"] is None else f"{outcome['error']:.2g}"
    return f"{effect} ± {error} {outcome['unit']}"


def _clear(folder: Path) -> None:
    """Deletes an outcome, and nothing that is not one."""
    import shutil

    from thalweg.errors import InputError
    from thalweg.runs.lock import is_locked

    if folder.exists():
        if is_locked(folder):
            raise InputError(f"{folder} is being written by another process: stop it before --fresh, or see --out")
        if any(folder.iterdir()) and not (folder / "study.json").exists():
            raise InputError(
                f"{folder} holds no study.json, so it is not a study's: --fresh leaves it alone; see --out"
            )
        shutil.rmtree(folder)


def _report(outcome: dict[str, Any]) -> None:
    """The verdict, where the figure is, and what paper and card say."""
    from thalweg.studies.base import expected

    print(f"{outcome['slug']} ({outcome['scale']}): {outcome['verdict']}")
    print(f"effect {_effect(outcome)} over {outcome['runs']} seeds, {outcome['seconds']:.0f} s")
    print(f"figure {outcome['figure']}")
    _numbers(expected(outcome["slug"]))


def _numbers(known: dict[str, Any]) -> None:
    """The paper's numbers, and ours."""
    from thalweg.cli.output import table

    table(("the paper", "value", "where"), [(row["what"], row["value"], row["source"]) for row in known["paper"]])
    table(("here", "value", "unit"), [(row["what"], row["value"], row["unit"]) for row in known["ours"]])
