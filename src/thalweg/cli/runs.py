"""thalweg runs: list, show, compare and export runs."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

__all__ = ["app"]

app = App(name="runs", help="List, show, compare and export runs.")


@app.command(name="list")
def list_(root: Path | None = None, /, *, json: bool = False) -> None:
    """List all runs under a folder, newest first.

    Parameters
    ----------
    root
        Folder [default: runs, or $THALWEG_HOME].
    json
        Print one JSON object.
    """
    from dataclasses import asdict

    from thalweg.cli.output import emit, table
    from thalweg.runs.index import list_runs

    found = list_runs(root)
    if json:
        emit("runs list", {"runs": [asdict(row) for row in found]})
        return
    rows = [
        (
            r.path,
            r.status,
            f"{r.steps_done}/{r.steps or '?'}",
            "" if r.loss is None else f"{r.loss:.4f}",
            r.recipe,
            r.problem,
        )
        for r in found
    ]
    table(("run", "status", "steps", "loss", "recipe", "problem"), rows)


@app.command
def show(folder: Path, /, *, json: bool = False) -> None:
    """Show one run: recipe, state, last record, checkpoints.

    Parameters
    ----------
    folder
        A run folder.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit, table
    from thalweg.runs import Run
    from thalweg.runs.compare import flattened

    run = Run.open(folder)
    log = run.read()
    records = run.records()
    points = [point.step for point in run.checkpoints()]
    if json:
        last = records[-1] if records else None
        state = run.state | {"status": run.status}
        emit(
            "runs show",
            {"state": state, "recipe": run.recipe, "last": last, "checkpoints": points, "cut_bytes": log.truncated},
        )
        return
    rows = [("status", run.status), *((key, value) for key, value in flattened(run.recipe).items())]
    rows += [(f"last {key}", value) for key, value in (records[-1].items() if records else ())]
    rows.append(("checkpoints", ", ".join(map(str, points)) or "none"))
    if run.state.get("error"):
        rows.append(("error", run.state["error"]))
    table(("entry", "value"), rows, title=str(folder))


@app.command
def compare(*folders: Path, json: bool = False) -> None:
    """Show what distinguishes the recipes of runs, and how each ended.

    Parameters
    ----------
    folders
        Two or more run folders.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit, table
    from thalweg.errors import InputError
    from thalweg.runs import Run
    from thalweg.runs.compare import differences

    if len(folders) < 2:
        raise InputError(f"compare got {len(folders)} run folders; give at least two")
    runs = {str(folder): Run.open(folder) for folder in folders}
    rows = differences({name: run.recipe for name, run in runs.items()})
    for metric in ("loss", "val_loss"):
        curves = {name: run.curve(metric)[1] for name, run in runs.items()}
        rows[f"last {metric}"] = {name: float(curve[-1]) if len(curve) else None for name, curve in curves.items()}
    if json:
        emit("runs compare", {"rows": rows})
        return
    table(
        ("entry", *runs),
        [(key, *("" if row[name] is None else row[name] for name in runs)) for key, row in rows.items()],
    )


@app.command
def export(*folders: Path, out: Path, metric: str = "loss") -> None:
    """Write curves in the columns that `thalweg fit` reads: schedule, step, lr, loss.

    Parameters
    ----------
    folders
        Run folders.
    out
        File ending in .csv or .jsonl.
    metric
        Which metric becomes the column loss, e.g. val_loss.
    """
    from thalweg.errors import InputError
    from thalweg.runs import Run
    from thalweg.runs.compare import export_curves

    if not folders:
        raise InputError("export got no run folder; name at least one")
    left_out = export_curves([Run.open(folder) for folder in folders], out, metric=metric)
    print(f"{out}" + (f" ({left_out} records that are not finite left out)" if left_out else ""))
