"""The documents of all sources under one numbering: ids, scores, domains, and their tokens by address."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from thalweg.data.plan.draws import document_keys
from thalweg.data.plan.schema import Plan
from thalweg.data.plan.select import rank_order
from thalweg.data.prepared import Prepared, open_prepared
from thalweg.data.tokens import Tokenizer, tokenizer
from thalweg.errors import InputError

__all__ = ["Library", "open_sources"]


def open_sources(plan: Plan, *, verify: bool = False) -> dict[str, Prepared]:
    """The sources of a plan, opened.

    Args:
        plan: names them.
        verify: compare all files with their SHA-256.

    Raises:
        InputError: see ``open_prepared``; the source is named.
    """
    opened: dict[str, Prepared] = {}
    made: Tokenizer | None = None
    for name, source in plan.sources.items():
        made = made or tokenizer(plan.tokenizer)
        try:
            opened[name] = open_prepared(
                source.path, verify=verify, tokenizer=made, dtype=source.dtype, context=plan.context
            )
        except InputError as error:
            raise InputError(f"sources.{name}: {error}") from None
    return opened


class Library:
    """All documents of a plan's sources, numbered one source after another in the plan's order.

    Args:
        plan: names columns and domains.
        sources: the opened sources by name.

    Raises:
        InputError: sources of different tokenizers, a missing column, an id that comes twice in a source.
    """

    def __init__(self, plan: Plan, sources: dict[str, Prepared]) -> None:
        self.plan, self.sources = plan, sources
        self.names = list(sources)
        opened = list(sources.values())
        self.first = np.concatenate([[0], np.cumsum([len(each) for each in opened])]).astype(np.int64)
        self._check(opened)
        self.lengths = np.concatenate([each.lengths for each in opened])
        self.parts = [part for each in opened for part in each.parts]
        self.bases = np.concatenate([[0], np.cumsum([len(part) for part in self.parts])]).astype(np.int64)
        shifts = np.concatenate([[0], np.cumsum([each.bases[-1] for each in opened])])
        self.begin = np.concatenate([each.begin[:-1] + shift for each, shift in zip(opened, shifts, strict=False)])
        self.flat = opened[0].flat
        self.end = opened[0].end
        self._keys: dict[str, np.ndarray] = {}
        self._ranked: dict[str, np.ndarray] = {}

    def _check(self, opened: list[Prepared]) -> None:
        for name, source in self.sources.items():
            if source.lengths.min(initial=1) < 1:
                raise InputError(f"sources.{name} has an empty document: every document ends with its end token")
            if (source.tokenizer, source.end) != (opened[0].tokenizer, opened[0].end):
                raise InputError(
                    f"sources.{name} and sources.{self.names[0]} come from different tokenizers: tokenize both with one"
                )
            score = self.plan.sources[name].score
            if score and (score not in source.columns or not np.issubdtype(source.columns[score].dtype, np.number)):
                there = ", ".join(source.scores) or "none"
                raise InputError(f"sources.{name}: score = {score!r} is no column of numbers of it; there are: {there}")
        if opened[0].flat and (self.plan.packing, self.plan.doc_mask) != ("concat", False):
            raise InputError('flat files have no documents: use packing = "concat" without doc_mask')

    def numbers(self, name: str) -> np.ndarray:
        """The numbers of a source's documents."""
        place = self.names.index(name)
        return np.arange(self.first[place], self.first[place + 1])

    def keys(self, name: str) -> np.ndarray:
        """64 bits a document of a source, from its id.

        Raises:
            InputError: an id comes twice.
        """
        if name not in self._keys:
            keys = document_keys(self.sources[name].ids)
            ordered = np.sort(keys)
            if len(again := np.flatnonzero(ordered[1:] == ordered[:-1])):
                place = np.flatnonzero(keys == ordered[again[0]])
                raise InputError(
                    f"sources.{name} has {self.sources[name].ids[place[0]]!s} as id of {len(place)} documents "
                    f"({len(again)} ids too many in all): ids must differ, prepare it anew"
                )
            self._keys[name] = keys
        return self._keys[name]

    def scores(self, name: str) -> np.ndarray | None:
        """The score column of a source, float64; None where the plan names none."""
        column = self.plan.sources[name].score
        return np.asarray(self.sources[name].column(column), dtype=np.float64) if column else None

    def ranked(self, name: str) -> np.ndarray | None:
        """A source's documents from the best to the worst; None where it has no score."""
        if name not in self._ranked:
            scores = self.scores(name)
            if scores is None:
                return None
            self._ranked[name] = rank_order(scores, self.keys(name))
        return self._ranked[name]

    def deciles(self, name: str) -> np.ndarray | None:
        """0 (best) … 9 of each document of a source; None where it has no score."""
        ranked = self.ranked(name)
        if ranked is None:
            return None
        found = np.empty(len(ranked), dtype=np.int64)
        found[ranked] = np.arange(len(ranked)) * 10 // len(ranked)
        return found

    @cached_property
    def owners(self) -> np.ndarray:
        """Which source each document is of, int32 (documents,)."""
        return np.repeat(np.arange(len(self.names), dtype=np.int32), np.diff(self.first))

    @cached_property
    def domains(self) -> tuple[list[str], np.ndarray]:
        """Names of domains, and which one each document has, int64 (documents,)."""
        names: dict[str, int] = {}
        codes = []
        for name, source in self.sources.items():
            told = self.plan.sources[name].domain
            if told or "domain" not in source.columns:
                codes.append(np.full(len(source), names.setdefault(told or name, len(names))))
                continue
            own, place = np.unique(source.columns["domain"], return_inverse=True)
            mine = [each.decode() if isinstance(each, bytes) else str(each) for each in own.tolist()]
            codes.append(np.array([names.setdefault(each, len(names)) for each in mine], dtype=np.int64)[place])
        return list(names), np.concatenate(codes)

    def all_scores(self, documents: np.ndarray) -> np.ndarray:
        """The scores of documents, nan where their source has none."""
        values = np.full(len(documents), np.nan)
        owner = self.owners[documents]
        for place, name in enumerate(self.names):
            scores = self.scores(name)
            if scores is not None:
                mine = owner == place
                values[mine] = scores[documents[mine] - self.first[place]]
        return values

    def id(self, document: int) -> str:
        """The id of a document."""
        place = int(self.owners[document])
        found = self.sources[self.names[place]].ids[document - self.first[place]]
        return found.decode() if isinstance(found, bytes) else str(found)

    def gather(self, address: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Tokens at ranges of addresses, put end to end, int64.

        Args:
            address: (m,) where each range begins; it lies within one part.
            length: (m,) tokens of each, >= 1.
        """
        ends = np.cumsum(length)
        part = np.searchsorted(self.bases, address, side="right") - 1
        within = np.repeat(address - self.bases[part] - (ends - length), length) + np.arange(int(ends[-1]))
        used = np.unique(part).tolist()
        if len(used) == 1:
            return self.parts[used[0]][within].astype(np.int64)
        owner = np.repeat(part, length)
        out = np.empty(len(within), dtype=np.int64)
        for each in used:
            mine = owner == each
            out[mine] = self.parts[each][within[mine]]
        return out
