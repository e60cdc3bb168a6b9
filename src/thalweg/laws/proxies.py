"""Rank candidate data recipes by small runs: which proxy learning rates agree, and which pairs flip.

A candidate's value is its loss on the target model with hyperparameters tuned for it. One proxy step changes the
validation loss by -η g·g_i + η² g_i·H g_i / 2: only the first term is about the data, so a small rate ranks them like
the tuned target; too small a rate learns nothing and ranks noise. The plateau lies between.

Source: Wang et al., arXiv 2512.24503 (tiny learning rates; rank agreement over recipes).
Differs: the choice of the rate without a target is our own; the paper fixes 1e-5 … 1e-6 for language models. The
plateau is the longest run of rates that all agree with each other, among rates that reach a given share of the best
loss drop and lie no higher than the one of least mean loss. Agreement of neighbours alone, as the specification has it,
chains through rates that lie close together into those where each recipe is ranked by its noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError
from thalweg.stats.ranking import Agreement, agreement, spearman

__all__ = ["RankTable", "rank_recipes"]


@dataclass(frozen=True, eq=False)
class RankTable:
    """Proxy losses of every recipe at every rate.

    Args:
        recipes: names (R,).
        rates: learning rates in rising order (L,).
        losses: (R, L, S), S seeds; lower is better. NaN or infinity: diverged, which ranks last.
        start: loss before training, if known: tells a small rate from one that learned nothing.
    """

    recipes: tuple[str, ...]
    rates: tuple[float, ...]
    losses: np.ndarray
    start: float | None = None

    def __post_init__(self) -> None:
        losses = np.array(self.losses, dtype=float)
        if losses.ndim == 2:
            losses = losses[:, :, None]
        if losses.shape[:2] != (len(self.recipes), len(self.rates)) or losses.shape[2] == 0:
            raise InputError(
                f"losses have shape {losses.shape}: expected {len(self.recipes)} x {len(self.rates)} x seeds"
            )
        if len(self.recipes) < 3 or len(set(self.recipes)) < len(self.recipes):
            raise InputError("a ranking needs three or more recipes with names of their own")
        if not self.rates or list(self.rates) != sorted(set(self.rates)) or not self.rates[0] > 0:
            raise InputError(f"rates {list(self.rates)} must be > 0 and rise")
        top = losses[np.isfinite(losses)].max(initial=0.0)
        object.__setattr__(self, "losses", np.where(np.isfinite(losses), losses, top * 2 + 1))

    @property
    def means(self) -> np.ndarray:
        """Over seeds (R, L)."""
        return self.losses.mean(axis=2)

    def order(self, rate: float) -> list[str]:
        """Recipes from best to worst at one of the rates."""
        return [self.recipes[k] for k in np.argsort(self.means[:, self._at(rate)], kind="stable")]

    def drop(self) -> np.ndarray:
        """Mean loss drop from ``start`` at each rate (L,), as a share of the largest; ones where start is unknown."""
        if self.start is None:
            return np.ones(len(self.rates))
        drops = self.start - self.means.mean(axis=0)
        return drops / drops.max() if drops.max() > 0 else np.zeros(len(self.rates))

    def neighbours(self) -> np.ndarray:
        """Spearman between each rate's ranking and the next one's (L - 1,)."""
        means = self.means
        return np.array([spearman(means[:, k], means[:, k + 1]) for k in range(len(self.rates) - 1)])

    def plateau(self, *, agree: float = 0.95, learned: float = 0.2) -> float:
        """The largest rate of the longest run of rates of which every two agree; the larger run where two are as long.

        Rates that learned too little sit out, and so do rates above the one of least mean loss (above the largest one
        within a hundredth of the best loss drop, where ``start`` is known): there noise costs more than is learned.

        Args:
            agree: Spearman between two rates that counts as agreement.
            learned: least share of the largest loss drop.

        Raises:
            InputError: no two neighbouring rates agree: add seeds, or rates closer together.
        """
        means, drop = self.means, self.drop()
        least = int(np.argmin(means.mean(axis=0)))
        edge = least if self.start is None else int(np.flatnonzero(drop >= drop.max() - 0.01)[-1])
        best, longest = -1, 1
        for first in range(edge + 1):
            last = first
            while last <= edge and drop[last] >= learned and self._agrees(last, range(first, last), agree):
                last += 1
            if last - first > 1 and last - first >= longest:
                best, longest = last - 1, last - first
        if best < 0:
            raise InputError(f"no two neighbouring rates agree at Spearman {agree:g}: add seeds or rates in between")
        return self.rates[best]

    def _agrees(self, rate: int, others: range, least: float) -> bool:
        return all(spearman(self.means[:, rate], self.means[:, each]) >= least for each in others)

    def flips(self, low: float, high: float) -> list[tuple[str, str]]:
        """Pairs (a, b) where a is better at the rate ``low`` and b at ``high``, both by two standard errors of seeds.

        With one seed every change of order counts.
        """
        seeds = self.losses.shape[2]
        found = []
        for a in range(len(self.recipes)):
            for b in range(len(self.recipes)):
                signs = [self._beats(a, b, self._at(low), seeds), self._beats(b, a, self._at(high), seeds)]
                if all(signs):
                    found.append((self.recipes[a], self.recipes[b]))
        return found

    def _beats(self, a: int, b: int, at: int, seeds: int) -> bool:
        apart = self.losses[b, at] - self.losses[a, at]
        error = apart.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else 0.0
        return bool(apart.mean() > 2 * error)

    def against(self, targets: Sequence[float] | np.ndarray) -> list[Agreement]:
        """Agreement of each rate's ranking with tuned target losses, one for each recipe."""
        return [agreement(column, targets) for column in self.means.T]

    def _at(self, rate: float) -> int:
        if rate not in self.rates:
            raise InputError(f"rate {rate:g} is not in the table: {', '.join(f'{r:g}' for r in self.rates)}")
        return self.rates.index(rate)


def rank_recipes(
    recipes: Sequence[str],
    train: Callable[[str, float, int], float],
    *,
    rates: Sequence[float],
    seeds: Sequence[int] = (0,),
    start: float | None = None,
) -> RankTable:
    """Runs the protocol: each recipe at each rate with each seed, the same initialisation seed and budget for all.

    Args:
        recipes: names.
        train: (recipe, rate, seed) -> validation loss after one epoch of that recipe's data.
        rates: learning rates; sorted here.
        seeds: one training run each.
        start: validation loss before training.
    """
    ordered = tuple(sorted({float(rate) for rate in rates}))
    losses = [[[train(recipe, rate, seed) for seed in seeds] for rate in ordered] for recipe in recipes]
    return RankTable(tuple(recipes), ordered, np.array(losses, dtype=float), start)
