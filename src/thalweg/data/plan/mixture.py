"""Weights as exact counts: which source each window comes from, and which of the source's windows it is.

In blocks of B windows, with weights v that sum to 1 and the filler f of the largest weight,

    cum_k(b) = floor(v_k b B + 1/2)  for k != f        cum_f(b) = b B - sum of the others
    block b holds c_k = cum_k(b + 1) - cum_k(b) windows of source k, in an order drawn for (stage, block)

so after any number of blocks every count but the filler's is within 1/2 of its share, however small the weight. A
source's own order is kept. Weights that change are many stages.

Source: data-core specification, after Levanter's MixtureDataset (which drops sources with v_k B < 1).
Differs: B must be so large that the filler never runs short, v_f B >= sources - 1; the specification asks for nothing,
and then a block can need more windows than it has (40 sources of weight near 1/40 in blocks of 16).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.data.plan.draws import key_of, shuffled
from thalweg.errors import InputError

__all__ = ["STAGE", "Mixture", "Stage", "counts_until", "ramp"]

STAGE = 64
"""Blocks of a stage where weights change."""
KEPT = 256
"""Blocks whose order is remembered."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of constant weights.

    Attributes:
        weights: one a source, summing to 1.
        blocks: how many blocks it lasts.
    """

    weights: tuple[float, ...]
    blocks: int


def counts_until(weights: Sequence[float], blocks: int, block: int) -> np.ndarray:
    """Windows of each source in the first ``blocks`` blocks, int64 (sources,), their sum blocks · block."""
    exact = np.floor(np.asarray(weights, dtype=np.float64) * (blocks * block) + 0.5).astype(np.int64)
    filler = int(np.argmax(weights))
    exact[filler] = 0
    exact[filler] = blocks * block - exact.sum()
    return exact


def ramp(first: Sequence[float], last: Sequence[float], blocks: int) -> list[Stage]:
    """Stages of ``STAGE`` blocks whose weights go from ``first`` to ``last``, each the value at its middle."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(last, dtype=np.float64)
    if (a == b).all():
        return [Stage(tuple(a.tolist()), blocks)]
    stages = []
    for start in range(0, blocks, STAGE):
        length = min(STAGE, blocks - start)
        share = (start + length / 2) / blocks
        mixed = (1 - share) * a + share * b
        stages.append(Stage(tuple((mixed / mixed.sum()).tolist()), length))
    return stages


class Mixture:
    """The order of one phase with weights.

    Args:
        stages: one after another.
        block: windows of a block, >= 1.
        base: position of each source at the beginning, what earlier phases took from it.
        key: of the order within blocks.

    Raises:
        InputError: a stage whose filler may run short.
    """

    def __init__(self, stages: Sequence[Stage], block: int, base: np.ndarray, key: int) -> None:
        self.stages, self.block, self.key = list(stages), block, key
        self.first = [0]
        self.bases = [np.asarray(base, dtype=np.int64)]
        for stage in self.stages:
            used = sum(weight > 0 for weight in stage.weights)
            if max(stage.weights) * block < used - 1:
                needed = int(np.ceil((used - 1) / max(stage.weights)))
                raise InputError(f"block = {block} is too small for {used} sources: make it at least {needed}")
            self.first.append(self.first[-1] + stage.blocks)
            self.bases.append(self.bases[-1] + counts_until(stage.weights, stage.blocks, block))
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def windows(self) -> int:
        """Length of the phase."""
        return self.first[-1] * self.block

    def places(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The source and the position within it of windows ``index`` of the phase, two int64 arrays of its shape."""
        number, inside = np.divmod(index, self.block)
        source, position = np.empty_like(number), np.empty_like(number)
        for each in np.unique(number).tolist():
            chosen = number == each
            sources, positions = self._block(each)
            source[chosen], position[chosen] = sources[inside[chosen]], positions[inside[chosen]]
        return source, position

    def _block(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        found = self.kept.get(number)
        if found is None:
            if len(self.kept) >= KEPT:
                self.kept.clear()
            found = self.kept[number] = self._make(number)
        return found

    def _make(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        stage = bisect_right(self.first, number) - 1
        inside, weights = number - self.first[stage], self.stages[stage].weights
        before = counts_until(weights, inside, self.block)
        counts = counts_until(weights, inside + 1, self.block) - before
        turn = shuffled(self.block, key_of(self.key, number))
        source = np.repeat(np.arange(len(counts)), counts)[turn]
        position = np.empty(self.block, dtype=np.int64)
        firsts = self.bases[stage] + before
        for each in np.flatnonzero(counts):
            position[source == each] = firsts[each] + np.arange(counts[each])
        return source, position
