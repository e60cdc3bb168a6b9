"""Quantile data benchmarking with the training loop: one run folder for each slice and seed, resumed where it stopped.

Source: arXiv 2512.07612; see ``thalweg.data.quantiles`` for the slices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.data import Prepared
from thalweg.data.plan import Order, Phase, Plan, Source
from thalweg.data.quantiles import STARTS, WIDTH, QuantileTable, documents, quantile_benchmark, quantile_slices
from thalweg.errors import InputError, Interrupted
from thalweg.files import write_atomic
from thalweg.runs import Run
from thalweg.train.loop import train
from thalweg.train.planned import plan_tokenizer, validation_tokens
from thalweg.train.recipe import Recipe
from thalweg.train.setup import Data

__all__ = ["Ranking", "benchmark_slices", "slice_tokens"]

CLAIM = "benchmark.json"


@dataclass(frozen=True)
class Ranking:
    """Documents and the score by which they are ranked.

    Attributes:
        source: opened data.
        score: name of a column of numbers, higher is better.
    """

    source: Prepared
    score: str

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores and tokens of the documents.

        Raises:
            InputError: there is no such column, or it holds no numbers.
        """
        values = np.asarray(self.source.column(self.score))
        if not np.issubdtype(values.dtype, np.number):
            there = ", ".join(self.source.scores) or "none"
            raise InputError(f"column {self.score!r} of {self.source.name} holds no numbers; scores there: {there}")
        return values, self.source.lengths


def slice_tokens(
    rankings: Mapping[str, Ranking], recipe: Recipe, *, starts: Sequence[float] = STARTS, width: float = WIDTH
) -> int:
    """Tokens of the smallest slice of all corpora, to which every slice is cut; checks everything that can be known.

    Raises:
        InputError: no score, corpora of different tokenizers, a slice that is empty or shorter than a context, or a
            recipe that reads a plan.
    """
    if recipe.data.plan:
        raise InputError("the recipe reads a data plan: give one without, the slices are what it is to read")
    least: dict[str, int] = {}
    for name, ranking in rankings.items():
        scores, tokens = ranking.columns
        try:
            parts = quantile_slices(scores, tokens, starts=starts, width=width)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        least[name] = min(int(tokens[rows].sum()) for rows in parts)
    made = {ranking.source.tokenizer for ranking in rankings.values()}
    if len(made) > 1:
        raise InputError(f"{', '.join(rankings)} come from different tokenizers: prepare them with one, losses compare")
    short = min(least, key=lambda name: least[name])
    if least[short] <= recipe.data.context:
        raise InputError(
            f"the smallest slice of {short} has {least[short]:,} tokens, no more than a context of "
            f"{recipe.data.context}: give a larger width or more documents"
        )
    return least[short]


def benchmark_slices(
    rankings: Mapping[str, Ranking],
    recipe: Recipe,
    folder: str | Path,
    *,
    starts: Sequence[float] = STARTS,
    width: float = WIDTH,
    seeds: Sequence[int] = (0,),
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
) -> QuantileTable:
    """Trains the recipe on every slice and measures the loss on the recipe's validation data.

    A slice is gone through as often as the recipe's steps need. Each run is a run folder ``NAME-START-seedK``: a run
    that is done is not trained again, one that was killed goes on from its newest checkpoint.

    Args:
        rankings: by name.
        recipe: the reference; ``data.corpus`` gives the validation text, ``seed`` is replaced.
        folder: of the runs; one of another benchmark is refused.
        starts: see ``quantile_slices``.
        width: see ``quantile_slices``.
        seeds: one run each.
        device: where it trains.
        say: receives a line when a run begins.
        stop: asked before each update.

    Returns:
        Table with the one task "val_loss", nats a token, lower is better.

    Raises:
        InputError: see ``slice_tokens``, or the folder holds another benchmark.
        Interrupted: ``stop`` asked for it; the same call goes on.
    """
    slice_tokens(rankings, recipe, starts=starts, width=width)
    folder = Path(folder)
    _claim(folder, rankings, recipe, starts, width)
    total, begun = len(rankings) * len(starts) * len(seeds), 0
    places: dict[str, int] = {}

    def one(name: str, rows: np.ndarray, seed: int) -> Run:
        nonlocal begun
        start = starts[places.get(name, 0) // len(seeds)]
        places[name] = places.get(name, 0) + 1
        begun += 1
        asked = recipe.replace(seed=seed)
        run = Run.resume_or_create(folder / f"{name}-{start:g}-seed{seed}", asked.to_dict(), steps=asked.steps)
        if run.status == "done":
            return run
        say(f"run {begun} of {total}: {run.folder.name}")
        data = _data(documents(rankings[name].source, rows), asked)
        data.check(asked)
        if train(run, data=data, device=device, stop=stop) == "interrupted":
            raise Interrupted(f"{folder} keeps the {begun - 1} finished runs")
        return run

    def loss(run: Run) -> dict[str, float]:
        return {"val_loss": float(run.records("val_loss")[-1]["val_loss"])}

    columns = {name: ranking.columns for name, ranking in rankings.items()}
    return quantile_benchmark(columns, one, loss, starts=starts, width=width, seeds=seeds)


def _data(slice_: Prepared, recipe: Recipe) -> Data:
    """The recipe's data with a slice as its training text."""
    phase = Phase(weights={"slice": 1.0}, tokens=recipe.steps * recipe.batch * recipe.data.context)
    plan = Plan(sources={"slice": Source(path="")}, phases=(phase,), seed=recipe.seed, context=recipe.data.context)
    order = Order(plan, {"slice": slice_})
    made = plan_tokenizer(order, recipe.data.tokenizer)
    held, fingerprint = validation_tokens(recipe.data.corpus, made)
    about = f"{len(slice_):,} documents, {slice_.count:,} tokens of {slice_.name}; validation {recipe.data.corpus}"
    return Data(np.empty(0, dtype=np.uint16), held, made, fingerprint, about, order)


def _claim(
    folder: Path, rankings: Mapping[str, Ranking], recipe: Recipe, starts: Sequence[float], width: float
) -> None:
    """Writes down what is measured here, or refuses a folder where something else is."""
    asked: dict[str, Any] = {
        "corpora": {
            name: {
                "score": ranking.score,
                "fingerprint": ranking.source.fingerprint,
                "scores": hashlib.sha256(np.ascontiguousarray(ranking.columns[0]).tobytes()).hexdigest(),
            }
            for name, ranking in rankings.items()
        },
        "starts": list(starts),
        "width": width,
        "recipe": recipe.replace(seed=0).to_dict(),
    }
    asked = json.loads(json.dumps(asked))
    path = folder / CLAIM
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            there = None
        if there != asked:
            changed = [key for key in asked if not isinstance(there, dict) or there.get(key) != asked[key]]
            raise InputError(f"{folder} holds a benchmark with other {' and '.join(changed)}: choose another folder")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and no benchmark: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(asked, indent=1))
