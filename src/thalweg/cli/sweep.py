"""thalweg sweep: a fair comparison of optimizers, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

if TYPE_CHECKING:
    from thalweg.launch.sweeping import SweepRunner

__all__ = ["app"]

app = App(name="sweep", help="Tune optimizers alike and compare them: run a sweep, report its ledger.")


@app.default
def sweep(
    file: Path,
    /,
    *,
    ledger: Path | None = None,
    workers: int = 2,
    threads: int = 1,
    device: str = "cpu",
    ray: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Tune every optimizer of a sweep in every regime; the same command again resumes.

    Parameters
    ----------
    file
        TOML file; see examples/sweep.toml.
    ledger
        File of finished runs [default: runs/NAME/ledger.jsonl, in $THALWEG_HOME if set]; run folders lie beside it.
    workers
        Processes.
    threads
        torch threads in each.
    device
        cpu, cuda or mps, for every run.
    ray
        Train on Ray: local, auto or the host:port of a cluster.
    dry_run
        Print how many runs and how much time the first rounds take, and stop.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit
    from thalweg.errors import InputError
    from thalweg.launch.sweep import load_sweep
    from thalweg.launch.sweep_report import sweep_report
    from thalweg.launch.sweeping import SweepRunner
    from thalweg.runs import run_root

    if workers < 1 or threads < 1:
        raise InputError(f"workers = {workers} and threads = {threads} must be at least 1")
    where = ledger or run_root() / file.stem / "ledger.jsonl"
    runner = SweepRunner(load_sweep(file), where, workers=workers, threads=threads, device=device, ray=ray)
    if dry_run:
        _estimate(runner, json)
        return
    _run(runner)
    if json:
        emit("sweep", {"ledger": str(where), **sweep_report(where)})
    else:
        _show(sweep_report(where))
        print(f"\nledger: {where}; thalweg sweep report {where} --out report.html writes the page")


@app.command
def report(ledger: Path, /, *, noise: float = 3e-3, out: Path | None = None, json: bool = False) -> None:
    """Say what a ledger holds, of a sweep that is finished or not.

    Parameters
    ----------
    ledger
        File of finished runs that thalweg sweep wrote.
    noise
        Spread of a final loss over runs, nats per token, for the intervals where a cell has one run.
    out
        Write the report as one HTML file.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit
    from thalweg.launch.sweep_report import sweep_report

    result = sweep_report(ledger, noise=noise)
    if out is not None:
        from thalweg.web.sweep_page import write_sweep_page

        write_sweep_page(result, out)
    if json:
        emit("sweep report", {"ledger": str(ledger), **result})
        return
    _show(result)
    if out is not None:
        print(f"\npage: {out}")


def _run(runner: SweepRunner) -> None:
    """Runs it with a line a round and a bar a round on stderr."""
    import sys
    from dataclasses import replace

    from thalweg.cli.progress import Bar
    from thalweg.launch.local import Progress

    steps: dict[Path, int] = {}
    done = 0
    with Bar("updates", 0) as bar:

        def begin(updates: int) -> None:
            bar.total += updates

        def move(progress: Progress) -> None:
            nonlocal done
            done += progress.step - steps.get(progress.folder, 0)
            steps[progress.folder] = progress.step
            bar.update(done, progress.loss)

        def say(line: str) -> None:
            print(line, file=sys.stderr, flush=True)

        replace(runner, say=say, on_progress=move, on_round=begin).run()


def _estimate(runner: SweepRunner, json: bool) -> None:
    """Runs and time of the first rounds, by timing one pass of each regime's model."""
    import tempfile

    import torch

    from thalweg.cli.output import emit, table
    from thalweg.cli.progress import duration
    from thalweg.runs.ledger import read_ledger
    from thalweg.train.estimate import estimate

    known = sum("loss" in record for record in read_ledger(runner.ledger))
    rows: list[dict[str, Any]] = []
    rounds = runner.rounds()
    speeds: dict[Any, float] = {}  # of each model the fastest pass seen: others wait for a busy machine
    torch.set_num_threads(runner.threads)
    with tempfile.TemporaryDirectory() as scratch:
        for *_, recipe in rounds:
            rate = estimate(recipe, Path(scratch), device=runner.device)["tokens_per_second"]
            speeds[recipe.model] = max(rate, speeds.get(recipe.model, 0.0))
        for label, regime, runs, recipe in rounds:
            seconds = regime.tokens / speeds[recipe.model] * runs / runner.workers
            rows.append(
                {
                    "optimizer": label,
                    "params": runner.sweep.parameters(regime),
                    "tokens": regime.tokens,
                    "tune": regime.tune,
                    "runs": runs,
                    "seconds": seconds,
                }
            )
    total = {"runs": sum(row["runs"] for row in rows), "seconds": sum(row["seconds"] for row in rows), "known": known}
    if json:
        emit("sweep", {"dry_run": True, "ledger": str(runner.ledger), "cells": rows, **total})
        return
    cells = [
        (r["optimizer"], f"{r['params']:,}", f"{r['tokens']:,}", r["tune"], r["runs"], duration(r["seconds"]))
        for r in rows
    ]
    table(("optimizer", "parameters", "tokens", "tune", "runs", "time"), cells)
    print(
        f"\nfirst rounds: {total['runs']} runs, about {duration(total['seconds'])} on {runner.workers} processes; the"
    )
    print(f"ledger holds {known} runs. Each move of a descent adds at most as many runs as its cell has.")


def _show(result: dict[str, Any]) -> None:
    """The tables of a report."""
    from thalweg.cli.output import table

    rows = []
    for cell in result["cells"]:
        speed = cell["speedup"]
        shown = "" if speed is None else f"{speed['value']:.2f} ({speed['low']:.2f} to {speed['high']:.2f})"
        mark = "" if speed is None or not speed["beyond"] else " beyond" if speed["reached"] else " never reached"
        values = ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in cell["values"].items()
        )
        rows.append(
            (
                cell["optimizer"],
                f"{cell['params']:,}",
                f"{cell['tokens']:,}",
                f"{cell['loss']:.4f}",
                shown + mark,
                cell["runs"],
                values,
            )
        )
    columns = ("optimizer", "parameters", "tokens", "loss", f"speed-up over {result['baseline']}", "runs", "values")
    table(columns, rows)
    for label, found in result["sensitivity"].items():
        kept = "; ".join(f"{name} {' | '.join(map(str, values))}" for name, values in found["sensitive"].items())
        print(f"{label}, scale-sensitive: {kept or 'nothing'}")
    for note in result["notes"]:
        print(f"note: {note}")
