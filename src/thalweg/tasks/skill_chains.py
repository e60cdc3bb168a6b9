"""Skill chains: named random maps of digits, applied one after the other, with a chain of thought.

A chain is "x a b c : x a = y b = z c = w": the start, the skills' names, and every step written out; y = a(x), and so
on. A drill is one step by itself, "x a = y". A row is a chain, or drills packed to at most a chain's length; skills in
chains follow a power law, those in drills are uniform.

Source: Medvedev et al., arXiv 2510.25108 (skill composition: 10^5 skills, 10 to 50 a chain, power law 1.5).
Differs: 1. a name is one token. 2. the paper's chain of thought was not readable; ours repeats the names, so that each
step has the form of a drill. 3. a row has the same number of tokens either way, up to 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thalweg.errors import InputError
from thalweg.tasks.base import TaskBatch
from thalweg.tasks.rows import PAD, check_number, check_whole, fitted, numbered
from thalweg.tasks.skills import SkillLaw

__all__ = ["SkillChains"]

EQUALS, COLON, FIRST = 1, 2, 3
DRILL = 4  # tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillChains:
    """Chains and drills; ids are 0 ``<pad>``, 1 ``=``, 2 ``:``, then the digits, then the skills' names.

    Args:
        skills: number of skills (>= 1).
        hops: fewest and most skills in a chain (1 <= fewest <= most), uniform between.
        digits: size of the set that skills map to itself (>= 2).
        alpha: exponent of the power law of skills in chains (>= 0; 0 is uniform).
        drills: share of rows that are drills, in [0, 1].
        seed: of the maps and of the order of ranks (>= 0).
    """

    name: ClassVar[str] = "skill_chains"

    skills: int = 100
    hops: tuple[int, int] = (4, 4)
    digits: int = 10
    alpha: float = 1.5
    drills: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, 0)
        check_whole("digits", self.digits, 2)
        check_number("drills", self.drills)
        pair = isinstance(self.hops, tuple | list) and len(self.hops) == 2 and all(type(n) is int for n in self.hops)
        if not (pair and 1 <= self.hops[0] <= self.hops[1]):
            raise InputError(f"hops={self.hops!r} must be (fewest, most) with 1 <= fewest <= most")
        if not 0 <= self.drills <= 1:
            raise InputError(f"drills={self.drills!r} must be a share of rows in [0, 1]")
        object.__setattr__(self, "hops", tuple(self.hops))  # a list would not hash
        _ = self.law

    @property
    def law(self) -> SkillLaw:
        """How often each skill is drawn in chains."""
        return SkillLaw(skills=self.skills, alpha=self.alpha, seed=self.seed)

    @property
    def maps(self) -> np.ndarray:
        """The skills, (skills, digits) int64, independent uniform maps."""
        return np.random.default_rng([self.seed, self.skills]).integers(0, self.digits, (self.skills, self.digits))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """``<pad>``, ``=``, ``:``, the digits and the names."""
        return (PAD, "=", ":", *map(str, range(self.digits)), *numbered("skill", self.skills))

    @property
    def context(self) -> int:
        """Tokens of the longest chain, 4 · most + 3."""
        return 4 * self.hops[1] + 3

    def sample(self, count: int, rng: np.random.Generator) -> TaskBatch:
        """``count`` rows; a chain's steps and each drill's value are scored, the last one is the answer."""
        maps, law = self.maps, self.law
        hops = rng.integers(self.hops[0], self.hops[1] + 1, count)
        drills = rng.random(count) < self.drills
        chosen = law.sample((count, self.hops[1]), rng)
        starts = rng.integers(0, self.digits, (count, self.hops[1]))
        uniform = rng.integers(0, self.skills, (count, self.hops[1]))
        ids = np.zeros((count, self.context), np.int64)
        scored, answer = np.zeros(ids.shape, bool), np.zeros(ids.shape, bool)
        lengths = np.where(drills, DRILL * hops, 4 * hops + 3)
        for length in np.unique(hops):
            chains, packed = np.flatnonzero(~drills & (hops == length)), np.flatnonzero(drills & (hops == length))
            ids[chains, : 4 * length + 3] = self._chains(maps, chosen[chains, :length], starts[chains, 0])
            scored[chains, length + 2 : 4 * length + 3] = True
            rows, begins = uniform[packed, :length], starts[packed, :length]
            written = np.stack(
                [FIRST + begins, self._names(rows), np.full_like(rows, EQUALS), FIRST + maps[rows, begins]]
            )
            ids[packed, : DRILL * length] = written.transpose(1, 2, 0).reshape(len(packed), DRILL * length)
            scored[packed, DRILL - 1 : DRILL * length : DRILL] = True
        answer[np.arange(count), lengths - 1] = True
        return TaskBatch(ids, scored, answer, lengths)

    def _names(self, skills: np.ndarray) -> np.ndarray:
        return FIRST + self.digits + skills

    def _chains(self, maps: np.ndarray, skills: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Chains (B, hops) from their starts (B,), written out."""
        parts = [FIRST + starts, *self._names(skills).T, np.full_like(starts, COLON), FIRST + starts]
        state = starts
        for each in skills.T:
            state = maps[each, state]
            parts += [self._names(each), np.full_like(starts, EQUALS), FIRST + state]
        return np.stack(parts, axis=1)

    def verify(self, ids: np.ndarray) -> np.ndarray:
        """Whether a chain's last digit follows from its prompt, or every drill of a row is right; a row at a time."""
        ids, maps = fitted(ids, self.context), self.maps.tolist()
        return np.array([self._right(row[: int((row > 0).sum())].tolist(), maps) for row in ids], bool)

    def _right(self, row: list[int], maps: list[list[int]]) -> bool:
        names = FIRST + self.digits
        if COLON not in row:
            steps = [row[i : i + DRILL] for i in range(0, len(row), DRILL)]
            return bool(steps) and all(
                len(each) == DRILL
                and FIRST <= each[0] < names <= each[1]
                and each[2] == EQUALS
                and each[3] == FIRST + maps[each[1] - names][each[0] - FIRST]
                for each in steps
            )
        hops = row.index(COLON) - 1
        if hops < 1 or len(row) != 4 * hops + 3 or not FIRST <= row[0] < names or min(row[1 : hops + 1]) < names:
            return False
        state = row[0] - FIRST
        for each in row[1 : hops + 1]:
            state = maps[each - names][state]
        return row[-1] == FIRST + state
