"""Runs a sweep: phases in order, runs through the local pool, every result in the ledger before the next round.

Source: arXiv 2509.02046, phases I to III.
Differs: 1. phase II starts at the best of the last fully tuned regime; 2. in phase III sensitive numbers are predicted
by the ``log`` form of ``laws.hyper_scaling`` and put on their grid, other sensitive values are those of the regime
nearest in tokens, and what is not sensitive has the value that serves all.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg.launch.descent import coordinate_descent
from thalweg.launch.local import Job, LocalPool, Progress
from thalweg.launch.sweep import Regime, Sweep, recipe_of
from thalweg.laws.hyper_scaling import fit_hyper_scaling, nearest_on_grid
from thalweg.laws.sensitivity import Sensitivity, near_best, sensitive_hyperparameters
from thalweg.runs import Run
from thalweg.runs.ledger import Ledger, config_key
from thalweg.toml import plain
from thalweg.train.recipe import Recipe

__all__ = ["Found", "SweepRunner"]

Values = dict[str, Any]


@dataclass(slots=True)
class Found:
    """The best of one cell.

    Args:
        values: the tuned configuration.
        loss: its final loss.
        runs: all configurations tried in the cell with their losses.
    """

    values: Values
    loss: float
    runs: list[tuple[Values, float]] = field(default_factory=list)


@dataclass(slots=True)
class Books:
    """The ledger and, from the first run that it lacks on, one pool for all."""

    ledger: Ledger
    open_pool: Callable[[], LocalPool]
    pool: LocalPool | None = None

    def train(self, jobs: list[Job]) -> None:
        """Trains the jobs."""
        if self.pool is None:
            self.pool = self.open_pool()
        self.pool.run(jobs)


@dataclass(frozen=True, slots=True)
class SweepRunner:
    """A sweep and where it leaves its results; the same call resumes.

    Args:
        sweep: what to tune.
        ledger: the file of finished runs; run folders lie beside it, in ``runs``.
        workers: processes.
        threads: torch threads in each.
        device: for every run.
        ray: where runs are trained if not in a local pool: "local", "auto" or host:port (see ``RayPool``).
        say: receives a line a round.
        on_progress: see ``LocalPool``.
        on_round: called with the number of updates that a round will train.
    """

    sweep: Sweep
    ledger: Path
    workers: int = 2
    threads: int = 1
    device: str = "cpu"
    ray: str = ""
    say: Callable[[str], None] = lambda line: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_round: Callable[[int], None] = lambda steps: None

    def run(self) -> dict[tuple[str, int], Found]:
        """Tunes every optimizer in every regime; returns the best by (label, number of the regime).

        Raises:
            InputError: the ledger cannot be used, or every run of a round diverged.
            Interrupted: Ctrl-C; the same call resumes.
        """
        found: dict[tuple[str, int], Found] = {}
        with ExitStack() as stack:
            ledger = stack.enter_context(Ledger(self.ledger))
            books = Books(ledger, lambda: stack.enter_context(self._pool()))
            document = plain(self.sweep)
            if ledger.get({"sweep": document}) is None:
                ledger.add({"sweep": document})
            for label in self.sweep.optimizers:
                for phase in ("all", "sensitive", "predicted"):
                    for number, regime in enumerate(self.sweep.regimes):
                        if regime.tune == phase:
                            found[label, number] = self._cell(books, label, regime, found)
            self._confirm(books, found)
        return found

    def _cell(self, books: Books, label: str, regime: Regime, found: Mapping[tuple[str, int], Found]) -> Found:
        """The best of one cell, by descent over what its phase leaves open."""
        done = {number: cell for (name, number), cell in found.items() if name == label}
        space = self.sweep.space(label)
        if regime.tune != "all":
            full = {number: cell for number, cell in done.items() if self.sweep.regimes[number].tune == "all"}
            if regime.tune == "sensitive":
                kept = self._sensitivity(full)
                last = full[max(full)].values
                start = {
                    name: last[name] if last[name] in values else values[0] for name, values in kept.sensitive.items()
                }
                space = space.kept(kept.sensitive, {**kept.fixed, **start})
            else:
                tuned = {n: cell for n, cell in done.items() if self.sweep.regimes[n].tune != "predicted"}
                space = space.kept({}, self._predicted(label, regime, tuned))
        tried: dict[str, tuple[Values, float]] = {}

        def losses(wanted: list[Values]) -> list[float]:
            values = self._losses(books, label, regime, wanted)
            tried.update((config_key(w), (w, loss)) for w, loss in zip(wanted, values, strict=True))
            return values

        def allowed(values: Values) -> bool:
            return self.sweep.fits(regime, values)

        name = f"{label}, {self.sweep.parameters(regime):,} parameters, {regime.tokens:,} tokens"
        best = coordinate_descent(
            space, losses, delta=self.sweep.delta, allowed=allowed, say=lambda line: self.say(f"{name}: {line}")
        )
        return Found(*best, runs=list(tried.values()))

    def _sensitivity(self, full: Mapping[int, Found]) -> Sensitivity:
        return sensitive_hyperparameters({n: near_best(cell.runs, self.sweep.tolerance) for n, cell in full.items()})

    def _predicted(self, label: str, regime: Regime, tuned: Mapping[int, Found]) -> Values:
        """Sensitive numbers from the other regimes' best, the rest as the module says."""
        full = {number: cell for number, cell in tuned.items() if self.sweep.regimes[number].tune == "all"}
        kept = self._sensitivity(full)
        sizes = [float(self.sweep.parameters(self.sweep.regimes[n])) for n in tuned]
        ratios = [self.sweep.regimes[n].tokens / size / 20 for n, size in zip(tuned, sizes, strict=True)]
        size = float(self.sweep.parameters(regime))
        nearest = min(tuned, key=lambda n: abs(math.log(self.sweep.regimes[n].tokens / regime.tokens)))
        values = {**tuned[nearest].values, **kept.fixed}
        grids = self.sweep.space(label).grids
        for name in kept.sensitive:
            grid = grids[name]
            best = [cell.values[name] for cell in tuned.values()]
            if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (*best, *grid)):
                rule = fit_hyper_scaling(sizes, ratios, best)
                values[name] = nearest_on_grid(rule.predict(size, regime.tokens / size / 20), grid)
        return values

    def _confirm(self, books: Books, found: Mapping[tuple[str, int], Found]) -> None:
        """Trains the best of each cell with the further seeds."""
        for seed in self.sweep.confirm:
            for (label, number), cell in found.items():
                self._losses(books, label, self.sweep.regimes[number], [cell.values], seed=seed)

    def config(self, label: str, recipe: Recipe) -> dict[str, Any]:
        """What a run is keyed by in the ledger."""
        return {"optimizer": label, "recipe": recipe.to_dict()}

    def _losses(
        self, books: Books, label: str, regime: Regime, wanted: list[Values], *, seed: int | None = None
    ) -> list[float]:
        """Final losses of configurations, those not in the ledger by training them."""
        ledger = books.ledger
        recipes = [recipe_of(self.sweep, label, regime, values, seed=seed) for values in wanted]
        configs = [self.config(label, recipe) for recipe in recipes]
        folders = [self.ledger.parent / "runs" / config_key(recipe.to_dict()) for recipe in recipes]
        missing = [k for k, config in enumerate(configs) if ledger.get(config) is None]
        if missing:
            self.on_round(sum(recipes[k].steps for k in missing))
            try:
                books.train([Job(folders[k], recipes[k]) for k in missing])
            finally:
                for k in missing:
                    self._record(ledger, configs[k], folders[k], label, regime, wanted[k])
        return [float(known["loss"]) for config in configs if (known := ledger.get(config))]

    def _pool(self) -> LocalPool:
        from thalweg.launch.ray_pool import pool_at
        from thalweg.train.loop import Diverged

        options: dict[str, Any] = {"workers": self.workers, "threads": self.threads, "device": self.device}
        options |= {"on_progress": self.on_progress, "tolerate": (Diverged,)}
        return pool_at(self.ray, **options) if self.ray else LocalPool(**options)

    def _record(
        self, ledger: Ledger, config: Mapping[str, Any], folder: Path, label: str, regime: Regime, values: Values
    ) -> None:
        """Writes a finished run into the ledger and drops its weights; one that is not finished stays as it is."""
        if ledger.get(config) is not None or not (folder / "run.json").exists():
            return
        run = Run.open(folder)
        losses = run.curve("loss")[1]
        diverged = run.status != "done" and len(losses) > 0 and not math.isfinite(losses[-1])
        if run.status != "done" and not diverged:
            return
        ledger.add(
            config,
            optimizer=label,
            params=self.sweep.parameters(regime),
            tokens=regime.tokens,
            values=values,
            seed=config["recipe"]["seed"],
            loss=math.inf if diverged else float(run.curve("val_loss")[1][-1]),
            seconds=float(run.curve("seconds")[1].sum()),
        )
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    def rounds(self) -> list[tuple[str, Regime, int, Recipe]]:
        """What the first rounds hold: label, regime, number of runs, the start's recipe.

        The sensitive hyperparameters are not known before phase I has run: two values of each are counted.
        """
        counted = []
        for label in self.sweep.optimizers:
            space = self.sweep.space(label)
            for regime in self.sweep.regimes:
                start = dict(space.start)
                around = [values for values in space.neighbours(start) if self.sweep.fits(regime, values)]
                runs = {"all": 1 + len(around), "sensitive": 1 + len(space.grids), "predicted": 1}[regime.tune]
                recipe = recipe_of(self.sweep, label, regime, start)
                counted.append((label, regime, runs + len(self.sweep.confirm), recipe))
        return counted
