"""thalweg demo: the main job on the embedded default, ends with the path of the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.launch.plan import Plan

__all__ = ["demo", "demo_plan"]

STEPS = 5000  # of a long run; pilots have half
PEAK = 2e-3
FLOOR = 0.1  # of the peak
WARMUP = 0.02  # of a long run
FILES = (
    "result.json",
    "report.html",
    "forecast.json",
    "law.json",
    "seconds.json",
    "plan.json",
)  # and runs/; the last says whose


def demo(
    *,
    steps: int = STEPS,
    seed: int = 0,
    out: Path | None = None,
    workers: int = 2,
    fresh: bool = False,
    plot: Path | None = None,
    json: bool = False,
) -> int:
    """Train three pilots, fit the law, predict longer runs, design their schedule, train them, and compare.

    The same command again resumes, or says that it is done. The report is OUT/report.html.

    Parameters
    ----------
    steps
        Updates of a long run; the pilots have half. Far fewer than the default leave the law outside its regime.
    seed
        Of initialisation and data order.
    out
        Folder [default: runs/demo-SEED-STEPS, in $THALWEG_HOME if set].
    workers
        Processes, one torch thread each.
    fresh
        Delete an earlier demo in the folder and start anew.
    plot
        Draw predictions and measurements here (.png, .svg or .pdf).
    json
        Print one JSON object.
    """
    from json import loads

    from thalweg.cli.figures import check, save
    from thalweg.cli.output import emit
    from thalweg.errors import InputError
    from thalweg.runs import run_root

    check(plot)
    if steps < 100:
        raise InputError(f"steps = {steps} must be at least 100: pilots have half of it, and a law needs their curves")
    if workers < 1:
        raise InputError(f"workers = {workers} must be at least 1")
    plan = demo_plan(steps, seed)
    folder = out or run_root() / f"demo-{seed}-{steps}"
    _look(folder, fresh)
    report, already = folder / "report.html", (folder / "result.json").exists()
    result = _run(plan, folder, workers)
    from thalweg.web.report import write_report

    write_report(result, report, law=loads((folder / "law.json").read_text()))
    if plot is not None:
        from thalweg.web.law_figures import forecast_figure

        save(forecast_figure(result), plot)
    if json:
        emit("demo", result | {"report": str(report)})
        return 0
    if already:
        print(f"already done in {folder}; --fresh starts anew")
    _print(result)
    print(f"report: {report}")
    return 0


def demo_plan(steps: int, seed: int) -> Plan:
    """The demo's plan: a byte-level model of 52,000 parameters on the embedded text.

    Args:
        steps: updates of a long run.
        seed: of initialisation and data order.
    """
    from thalweg.launch.plan import Plan
    from thalweg.nn import ModelConfig
    from thalweg.train.recipe import DataRecipe, EvaluationRecipe, Recipe

    model = ModelConfig(dim=48, layers=1, heads=2, context=64)
    recipe = Recipe(
        steps=1,
        schedule=f"constant:peak={PEAK!r}",
        batch=32,
        seed=seed,
        model=model,
        data=DataRecipe(context=64),
        evaluation=EvaluationRecipe(every=max(1, steps // 160), windows=128, batch=128),
    )
    return Plan(
        recipe=recipe,
        pilot_steps=steps // 2,
        horizon=steps,
        peak=PEAK,
        warmup=max(2, round(WARMUP * steps)),
        floor=FLOOR * PEAK,
    )


def _look(folder: Path, fresh: bool) -> None:
    """Refuses a folder with other things than a demo in it; deletes an earlier demo, and nothing else, if ``fresh``."""
    import shutil

    from thalweg.errors import InputError
    from thalweg.runs.lock import is_locked

    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    runs = {path.name for path in (folder / "runs").iterdir()} if "runs" in there else set()
    if not _is_demo(folder) and (folder.is_file() or there - {"runs"} or runs - {"data"}):
        raise InputError(f"{folder} is not a demo's folder (no plan.json of one): choose another with --out")
    if not fresh:
        return
    for name in runs:
        if is_locked(folder / "runs" / name):
            raise InputError(f"{folder / 'runs' / name} is being written: stop that demo before --fresh deletes it")
    if runs:
        shutil.rmtree(folder / "runs")
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _is_demo(folder: Path) -> bool:
    import json

    try:
        return json.loads((folder / "plan.json").read_text()).keys() == {"format", "plan"}
    except (OSError, ValueError, AttributeError):
        return False


def _run(plan: Plan, folder: Path, workers: int) -> dict[str, Any]:
    """The pipeline under a progress bar over all updates it has to train."""
    import sys

    from thalweg.cli.progress import Bar
    from thalweg.launch.forecast import Forecaster
    from thalweg.launch.local import Progress
    from thalweg.runs import Run
    from thalweg.train.fork import shared_steps

    pilots = round((3 - plan.drop_at) * plan.pilot_steps)
    long = 3 * plan.horizon - 2 * plan.pilot_steps
    bar = Bar("demo", pilots + long)
    runs = [Run.open(path.parent) for path in (folder / "runs").glob("*/run.json")]
    done = {run.folder: run.recipe["steps"] - shared_steps(run) for run in runs if run.status == "done"}

    def progress(event: Progress) -> None:
        done[event.folder] = event.step - shared_steps(Run.open(event.folder))
        bar.update(sum(done.values()), event.loss)

    def stage(name: str) -> None:
        bar.title = name
        if name == "result":  # what was shared was an estimate
            bar.total = sum(done.values())
            bar.update(bar.total)
        if name == "law":
            print("pilots done; fitting the law and writing down its predictions", file=sys.stderr)

    with bar:
        return Forecaster(plan, folder, workers=workers, on_stage=stage, on_progress=progress).run()


def _print(result: dict[str, Any]) -> None:
    from thalweg.cli.output import table

    rows = []
    for name, row in result["table"].items():
        low, high = row["interval"]
        rows.append(
            (
                name,
                f"{row['final_loss']:.4f}",
                f"{low:.4f} to {high:.4f}",
                f"{row['measured']:.4f}",
                f"{100 * row['error']:+.2f} %",
                f"{row['above_designed']:+.4f} +- {row['above_designed_error']:.4f}",
                row["trust"],
            )
        )
    table(
        ("schedule", "predicted", "90 % interval", "measured", "error", "above designed", "trust"),
        rows,
        title=f"validation loss after {result['plan']['horizon']} updates, nats/token",
    )
