"""A plan made concrete: window i -> the documents it holds, a pure function of (plan, i).

windows 0 … n - 1 = phase after phase;  phase with weights: window -> (source, position);  else position = window
source: position -> epoch, window of it -> pieces of documents (``Stream``)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from thalweg.data.plan.arrange import bucket_order, interleaved_order, order_by_quality
from thalweg.data.plan.draws import key_of, shuffled
from thalweg.data.plan.fingerprint import fingerprint
from thalweg.data.plan.library import Library, open_sources
from thalweg.data.plan.mixture import Mixture, Stage, ramp
from thalweg.data.plan.schema import Phase, Plan, Take, parse_order
from thalweg.data.plan.select import copies, laid_out, thinned
from thalweg.data.plan.stream import Stream
from thalweg.data.prepared import Prepared
from thalweg.data.tokens import Tokenizer, tokenizer
from thalweg.errors import InputError

__all__ = ["Order", "Stretch"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase made concrete.

    Attributes:
        phase: as planned.
        name: of the phase.
        first: number of its first window.
        windows: how many it has.
        streams: what it draws from, by the source's name; one stream named "" where documents come once.
        used: positions [from, to) of each stream that the phase delivers.
        mixture: of a phase with weights.
    """

    phase: Phase
    name: str
    first: int
    windows: int
    streams: dict[str, Stream]
    used: dict[str, tuple[int, int]]
    mixture: Mixture | None


class Order:
    """The windows of a plan in their order, by number.

    Args:
        plan: what is read.
        sources: the opened sources; opened here where None.
        verify: compare all files with their SHA-256 when opening them.

    Raises:
        InputError: the plan does not fit the sources: more tokens than exist, no score where one is needed, limits or
            epochs exceeded, nothing left to read.
    """

    def __init__(self, plan: Plan, sources: dict[str, Prepared] | None = None, *, verify: bool = False) -> None:
        self.plan, self._given = plan, sources
        if sources is not None and (missing := set(plan.sources) - set(sources)):
            raise InputError(f"sources has no {sorted(missing)[0]!r}, which the plan names: give all or None")
        given = open_sources(plan, verify=verify) if sources is None else sources
        self.sources = {name: given[name] for name in plan.sources}
        self.library = Library(plan, self.sources)
        for name in self.library.names:
            self.library.keys(name)
        self.stretches: list[Stretch] = []
        self._endless: dict[tuple[str, Take, str, int], tuple[Stream, int]] = {}
        for number, phase in enumerate(plan.phases):
            self.stretches.append(self._weighted(number, phase) if phase.weights else self._listed(number, phase))
        self.firsts = np.array([each.first for each in self.stretches], dtype=np.int64)
        self.total = self.stretches[-1].first + self.stretches[-1].windows
        self._skipped = np.array([each for each in plan.skip if each < self.total], dtype=np.int64)
        if plan.limits or any(each.max_epochs for each in plan.sources.values()):
            from thalweg.data.plan.ledger import check_limits

            check_limits(self)

    def __len__(self) -> int:
        return self.total - len(self._skipped)

    @cached_property
    def decoder(self) -> Tokenizer | None:
        """The tokenizer of the sources, where it can be found: beside them, or the plan's."""
        for source in self.sources.values():
            if (found := source.decoder()) is not None:
                return found
        found = tokenizer(self.plan.tokenizer)
        return found if found.fingerprint == next(iter(self.sources.values())).tokenizer else None

    def __reduce__(self) -> tuple[Any, ...]:
        """Workers of a loader open the files themselves; sources that were given travel along."""
        return Order, (self.plan, self._given)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the order and the tokens."""
        return fingerprint(self.plan, self.sources)

    def numbers(self, index: np.ndarray) -> np.ndarray:
        """The numbers of the windows that come at places ``index`` once ``skip`` is left out."""
        return index + np.searchsorted(self._skipped - np.arange(len(self._skipped)), index, side="right")

    def places(self, numbers: np.ndarray) -> list[tuple[np.ndarray, Stretch, str, np.ndarray]]:
        """Where windows come from.

        Args:
            numbers: int64 (m,), each in 0 … total - 1.

        Returns:
            Groups: which of ``numbers``; their stretch; the name of their stream in it; their positions in the stream.
        """
        groups = []
        which = np.searchsorted(self.firsts, numbers, side="right") - 1
        for each in np.unique(which).tolist():
            stretch, mine = self.stretches[each], np.flatnonzero(which == each)
            inside = numbers[mine] - stretch.first
            if stretch.mixture is None:
                groups.append((mine, stretch, "", inside))
                continue
            source, position = stretch.mixture.places(inside)
            for number, name in enumerate(stretch.streams):
                chosen = source == number
                if chosen.any():
                    groups.append((mine[chosen], stretch, name, position[chosen]))
        return groups

    def _listed(self, number: int, phase: Phase) -> Stretch:
        names = list(phase.take) or self.library.names
        taken = [self._taken(name, phase.take.get(name, Take()), number) for name in names]
        documents = np.concatenate(taken)
        lengths = self.library.lengths[documents]
        tokens = int(lengths.sum())
        if not len(documents):
            raise InputError(f"{self._called(number)} takes no document: keep or repeat more of its sources")
        if phase.tokens > tokens:
            raise InputError(
                f"{self._called(number)} asks for {phase.tokens:,} tokens but its documents have {tokens:,}: repeat or "
                "keep more of them, or ask for fewer"
            )
        if phase.tokens:
            by_chance = shuffled(len(documents), key_of("thin", self.plan.seed, number))
            documents = thinned(documents, lengths, by_chance, phase.tokens)
            lengths = self.library.lengths[documents]
        self._need_scores(number, phase, names)
        stream = self._stream(documents, phase, key_of("phase", self.plan.seed, number))
        return Stretch(
            phase, self._called(number), self._next(), stream.windows, {"": stream}, {"": (0, stream.windows)}, None
        )

    def _weighted(self, number: int, phase: Phase) -> Stretch:
        plan = self.plan
        end = phase.end_weights or phase.weights
        names = [name for name in self.library.names if name in phase.weights or name in end]
        blocks = -(-phase.tokens // (plan.context * plan.block))
        first, last = ([weights.get(name, 0.0) for name in names] for weights in (phase.weights, end))
        self._need_scores(number, phase, names)
        streams, base = {}, np.zeros(len(names), dtype=np.int64)
        for place, name in enumerate(names):
            same = (name, phase.take.get(name, Take()), phase.order, phase.mix)
            if same not in self._endless:
                documents = self._taken(name, same[1], number)
                if not len(documents):
                    raise InputError(f"{self._called(number)} takes no document of {name!r}: keep or repeat more")
                self._endless[same] = self._stream(documents, phase, key_of("source", plan.seed, number, name)), 0
            streams[name], base[place] = self._endless[same]
        stages: list[Stage] = ramp(_whole(first), _whole(last), blocks)
        mixture = Mixture(stages, plan.block, base, key_of("block", plan.seed, number))
        stop = mixture.bases[-1].tolist()
        used = {name: (int(base[place]), stop[place]) for place, name in enumerate(names)}
        for name in names:
            same = (name, phase.take.get(name, Take()), phase.order, phase.mix)
            self._endless[same] = streams[name], used[name][1]
        return Stretch(phase, self._called(number), self._next(), mixture.windows, streams, used, mixture)

    def _taken(self, name: str, take: Take, number: int) -> np.ndarray:
        """The documents of a source that a phase takes, one entry a copy."""
        library = self.library
        if take == Take():
            return library.numbers(name)
        columns = library.sources[name].columns
        try:
            counts = copies(
                take,
                library.keys(name),
                seed=self.plan.seed,
                phase=number,
                ranked=library.ranked(name) if take.ranks != (0.0, 1.0) else None,
                duplicates=columns["duplicates"] if take.repeat == "duplicates" and "duplicates" in columns else None,
            )
        except InputError as error:
            raise InputError(f"{self._called(number)}, source {name!r}: {error}") from None
        return library.numbers(name)[laid_out(counts)]

    def _stream(self, documents: np.ndarray, phase: Phase, key: int) -> Stream:
        library, (kind, number) = self.library, parse_order(phase.order)
        lengths = library.lengths[documents]
        scores = None if kind == "uniform" else library.all_scores(documents)

        def arrange(epoch: int) -> np.ndarray:
            seed = key_of(key, epoch)
            if scores is None:
                return shuffled(len(documents), seed)
            if kind == "interleave":
                return interleaved_order(library.domains[1][documents], scores, perturb=phase.perturb, seed=seed)
            if kind == "bucket":
                return bucket_order(library.owners[documents], scores, lengths, buckets=number, seed=seed)
            return order_by_quality(scores, phase.order, seed=seed)

        return Stream(
            documents,
            lengths,
            arrange,
            context=self.plan.context,
            packing=self.plan.packing,
            shuffle=kind == "uniform",
            mix=phase.mix,
            key=key,
        )

    def _need_scores(self, number: int, phase: Phase, names: list[str]) -> None:
        if parse_order(phase.order)[0] in ("ascend", "descend", "fold"):
            for name in names:
                if not self.plan.sources[name].score:
                    raise InputError(
                        f"{self._called(number)} has order {phase.order!r} but sources.{name} names no score: "
                        f"there are {', '.join(self.sources[name].scores) or 'no score columns'}"
                    )

    def _called(self, number: int) -> str:
        return self.plan.phases[number].name or f"phase {number + 1}"

    def _next(self) -> int:
        return self.stretches[-1].first + self.stretches[-1].windows if self.stretches else 0


def _whole(weights: list[float]) -> list[float]:
    """Weights that sum to 1 exactly enough for the counts: divided by their sum."""
    total = float(np.sum(weights))
    return weights if total == 1.0 else [weight / total for weight in weights]
