"""thalweg data benchmark: what a quality score is worth, by reference runs on slices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.data.quantiles import QuantileTable
    from thalweg.train.quantile_runs import Ranking

__all__ = ["benchmark"]


def benchmark(
    sources: list[str],
    /,
    *,
    score: str,
    recipe: Path,
    out: Path | None = None,
    starts: str = "0,0.15,0.3,0.45,0.6,0.75",
    width: float = 0.02,
    seeds: int = 2,
    device: str = "auto",
    threads: int = 0,
    dry_run: bool = False,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Train a small reference model on slices at quality quantiles of each corpus, and compare their losses.

    The same command again goes on where it stopped; finished runs are not trained again.

    Parameters
    ----------
    sources
        Prepared folders, each NAME=FOLDER.
    score
        Column of the quality score, higher is better. Several with commas: each corpus is ranked by each. NAME=COLUMN
        is for that corpus alone.
    recipe
        The reference run (TOML), such as recipes/reference.toml; its data.corpus is the validation text.
    out
        Folder of the runs [default: runs/benchmark-RECIPE, in $THALWEG_HOME if set].
    starts
        Where slices start, shares of the documents counted from the best.
    width
        Share of the documents in a slice.
    seeds
        Runs on each slice.
    device
        auto, cpu, cuda or mps.
    threads
        torch threads; 0 leaves torch's choice.
    dry_run
        Check everything, print how many runs on how many tokens it will be, and stop.
    plot
        Draw the losses over where slices start (.png, .svg or .pdf).
    json
        Print one JSON object.
    """
    from thalweg.cli import figures
    from thalweg.cli.output import emit
    from thalweg.errors import InputError
    from thalweg.runs import run_root
    from thalweg.train.recipe import load_recipe

    figures.check(plot)
    if seeds < 1 or threads < 0:
        raise InputError(f"seeds = {seeds} must be at least 1, and threads = {threads} at least 0")
    chosen, places = load_recipe(recipe), _numbers("starts", starts)
    folder = out or run_root() / f"benchmark-{recipe.stem}"
    from thalweg.train.quantile_runs import benchmark_slices, slice_tokens

    ranked = _rankings(sources, score)
    least = slice_tokens(ranked, chosen, starts=places, width=width)
    budget = chosen.steps * chosen.tokens_per_step
    about: dict[str, Any] = {
        "folder": str(folder),
        "runs": len(ranked) * len(places) * seeds,
        "slice_tokens": least,
        "budget": budget,
        "epochs": budget / least,
    }
    said = f"{about['runs']} runs of {budget:,} tokens on slices of {least:,}: {about['epochs']:.2f} epochs each"
    if dry_run:
        if json:
            emit("data benchmark", {**about, "dry_run": True})
        else:
            print(said)
        return
    from thalweg.cli.progress import flag_on_interrupt
    from thalweg.train.setup import pick_device

    if threads:
        import torch

        torch.set_num_threads(threads)
    with flag_on_interrupt() as stop:
        table = benchmark_slices(
            ranked,
            chosen,
            folder,
            starts=places,
            width=width,
            seeds=range(chosen.seed, chosen.seed + seeds),
            device=str(pick_device(device)),
            say=_say,
            stop=stop,
        )
    if plot is not None:
        from thalweg.data.quantile_figure import quantile_figure

        figures.save(quantile_figure(table, width=width), plot)
    if json:
        emit("data benchmark", {**about, **_result(table)})
    else:
        _print(table, said)


def _rankings(sources: list[str], score: str) -> dict[str, Ranking]:
    """Every corpus by every score that is meant for it; named CORPUS, or CORPUS-COLUMN where it has several."""
    from thalweg.data import open_prepared
    from thalweg.errors import InputError, suggest
    from thalweg.train.quantile_runs import Ranking

    folders: dict[str, str] = {}
    for word in sources:
        name, equals, place = word.partition("=")
        if not equals or not name or not place or "/" in name or name in folders:
            raise InputError(f"source {word!r} is not NAME=FOLDER, each name once and without a slash")
        folders[name] = place
    columns: dict[str, list[str]] = {name: [] for name in folders}
    for part in (each.strip() for each in score.split(",")):
        name, equals, column = part.partition("=")
        if equals and name not in folders:
            raise InputError(f"score {part!r} names no source: {suggest(name, folders)}")
        if not (column if equals else part):
            raise InputError(f"score {score!r} has an empty name: give columns, or NAME=COLUMN, with commas between")
        for own in [name] if equals else folders:
            columns[own].append(column if equals else part)
    found = {}
    for name, own in columns.items():
        if not own:
            raise InputError(f"source {name!r} has no score: add {name}=COLUMN to --score")
        source = open_prepared(folders[name])
        for column in own:
            found[name if len(own) == 1 else f"{name}-{column}"] = Ranking(source, column)
    return found


def _numbers(word: str, text: str) -> list[float]:
    from thalweg.errors import InputError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{word} {text!r} are not numbers with commas between, such as 0,0.3,0.6") from None


def _result(table: QuantileTable) -> dict[str, Any]:
    many = table.scores.shape[3] > 1
    cells = [
        {
            "corpus": name,
            "start": start,
            "val_loss": float(table.means[c, p, 0]),
            "error": float(table.errors[c, p, 0]) if many else None,
            "losses": table.scores[c, p, 0].tolist(),
        }
        for c, name in enumerate(table.corpora)
        for p, start in enumerate(table.starts)
    ]
    slopes = dict(zip(table.corpora, table.trend()[:, 0].tolist(), strict=True)) if len(table.starts) > 1 else {}
    best = dict(zip(map(str, table.starts), _best(table), strict=True)) if len(table.corpora) > 1 else {}
    return {"tokens": table.tokens, "cells": cells, "slope": slopes, "best": best}


def _best(table: QuantileTable) -> list[str]:
    """The corpus of least loss at each start."""
    return [corpora[0] for corpora in table.best(lower=True)]


def _print(table: QuantileTable, said: str) -> None:
    from thalweg.cli.output import table as show

    many = table.scores.shape[3] > 1
    rows = []
    for c, name in enumerate(table.corpora):
        cells = [
            f"{mean:.4f}" + (f" ± {error:.4f}" if many else "")
            for mean, error in zip(table.means[c, :, 0], table.errors[c, :, 0], strict=True)
        ]
        rows.append((name, *cells))
    show(("corpus", *(f"from {start:.0%}" for start in table.starts)), rows, title="validation loss, nats a token")
    print(f"\n{said}")
    if len(table.starts) > 1:
        for name, slope in zip(table.corpora, table.trend()[:, 0], strict=True):
            print(f"{name}: {slope:+.3f} nats from the best documents to the worst, by a straight line")
    if len(table.corpora) > 1:
        winners = zip(table.starts, _best(table), strict=True)
        print("best: " + ", ".join(f"{winner} from {start:.0%}" for start, winner in winners))


def _say(line: str) -> None:
    import sys

    print(line, file=sys.stderr, flush=True)
