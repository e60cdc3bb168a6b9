"""What a plan says: sources, phases, packing; frozen dataclasses that round-trip through TOML."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from thalweg.errors import InputError, suggest
from thalweg.toml import check_keys, from_document, plain, read_toml, write_toml

__all__ = ["ORDERS", "Phase", "Plan", "Source", "Take", "load_plan"]

ORDERS = ("uniform", "ascend", "descend", "fold:S", "interleave", "bucket:N")
"""Orders of a phase; S and N are whole numbers."""
DUPLICATES = "duplicates"
TOLERANCE = 1e-6
"""By how much weights may miss a sum of 1."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where documents come from.

    Args:
        path: a prepared folder, a token shard, a flat .bin or .npy file, or a corpus (its training documents).
        domain: of all its documents; empty takes the column ``domain``, else the source's name.
        score: the column by which documents are ranked, higher is better; empty where none is needed.
        max_epochs: how often its documents may come on average over the whole plan, counted in tokens; 0 is no limit.
        dtype: of a flat .bin file.
    """

    path: str
    domain: str = ""
    score: str = ""
    max_epochs: float = 0.0
    dtype: str = ""

    def __post_init__(self) -> None:
        _within("max_epochs", self.max_epochs, 0.0, math.inf)


@dataclass(frozen=True, slots=True)
class Take:
    """Which documents of a source a phase takes, and how often.

    Ranks count from the best (0) to the worst (1); ties are broken by the document's id, documents without a score
    (nan) come last.

    Args:
        keep_top: share of the documents kept, the best ones, in (0, 1].
        quantile: keeps ranks [lo, hi) instead, 0 <= lo < hi <= 1.
        sample: probability with which each kept document stays, in (0, 1].
        repeat: copies of each, >= 0; a fraction by chance, drawn for (seed, document, phase); "duplicates" gives
            min(0.1 · duplicates, 20) copies, from the column ``duplicates``.
    """

    keep_top: float = 1.0
    quantile: tuple[float, float] = (0.0, 1.0)
    sample: float = 1.0
    repeat: float | Literal["duplicates"] = 1.0

    def __post_init__(self) -> None:
        for name in ("keep_top", "sample"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} = {getattr(self, name)} must lie in (0, 1]")
        low, high = self.quantile
        if not 0 <= low < high <= 1:
            raise InputError(f"quantile = {list(self.quantile)} must be two ranks 0 <= lo < hi <= 1, 0 is the best")
        if self.keep_top < 1 and self.ranks != (0.0, self.keep_top):
            raise InputError(f"keep_top = {self.keep_top} and quantile = {list(self.quantile)} exclude each other")
        if self.repeat != DUPLICATES:
            _within("repeat", self.repeat, 0.0, 1e6)

    @property
    def ranks(self) -> tuple[float, float]:
        """The kept ranks [lo, hi)."""
        return (0.0, self.keep_top) if self.quantile == (0.0, 1.0) else self.quantile


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training, of one of two kinds.

    Without ``weights`` it delivers the documents of ``take`` once (or as often as they repeat). With ``weights`` its
    sources are endless: each is gone through again and again, and contributes that share of the windows.

    Args:
        name: for reports; its number where empty.
        take: selection by source; a source named in ``weights`` alone is taken whole. Without weights: the sources of
            the phase, all of them where empty.
        order: "uniform", "ascend" or "descend" by score, "fold:S" (ascending within each of S equal parts of the
            uniform order), "interleave" (every domain ascending, all domains everywhere in the same share), "bucket:N"
            (every source ascending, cut in N parts by tokens; part k of all sources together, shuffled).
        perturb: of "interleave": ranks are moved by up to that many documents, >= 0.
        mix: windows that are shuffled among themselves, group after group, so that the parts of a long document do not
            fill a batch; 0 keeps the very order. (In "uniform" order all windows are shuffled anyway.)
        weights: share of the windows by source, summing to 1.
        end_weights: the shares at the end of the phase, reached linearly; empty keeps them constant.
        tokens: with weights: length of the phase (rounded up to whole blocks). Without: documents are thinned at
            random to that many tokens before they are ordered; 0 keeps all.
    """

    name: str = ""
    take: dict[str, Take] = field(default_factory=dict)
    order: str = "uniform"
    perturb: float = 0.0
    mix: int = 0
    weights: dict[str, float] = field(default_factory=dict)
    end_weights: dict[str, float] = field(default_factory=dict)
    tokens: int = 0

    def __post_init__(self) -> None:
        parse_order(self.order)
        _within("perturb", self.perturb, 0.0, math.inf)
        for name in ("tokens", "mix"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} = {getattr(self, name)} must be a whole number of at least 0")
        if self.end_weights and not self.weights:
            raise InputError("end_weights are given without weights: name the shares at the beginning too")
        for name, weights in (("weights", self.weights), ("end_weights", self.end_weights)):
            if weights:
                _check_weights(name, weights)
        if self.weights and not self.tokens:
            raise InputError("a phase with weights has no end: give its tokens")
        if self.weights and parse_order(self.order)[0] in ("interleave", "bucket"):
            raise InputError(
                f"order = {self.order!r} needs a phase without weights: the order says what comes when, not the weights"
            )
        idle = set(self.take) - set(self.weights) - set(self.end_weights)
        if self.weights and idle:
            raise InputError(f"take names {sorted(idle)[0]!r}, which weights do not: give it a weight or leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is read, how often and in which order.

    Args:
        sources: by name.
        phases: one after another.
        seed: of everything that is drawn.
        context: inputs of a window, >= 2.
        packing: "concat" (documents end to end, cut into windows), "pack" (whole documents, best fit into open windows)
            or "pad" (one document a window).
        doc_mask: positions and attention start anew with each document in a window.
        block: windows within which the shares of weights are exact, >= 1.
        tokenizer: reads sources that are text: "byte" or the path of a tokenizer.json.
        limits: share of a domain's tokens in every phase, [least, most].
        skip: windows (by their number) that are left out, e.g. because a batch was bad.
    """

    sources: dict[str, Source]
    phases: tuple[Phase, ...]
    seed: int = 0
    context: int = 128
    packing: Literal["concat", "pack", "pad"] = "concat"
    doc_mask: bool = False
    block: int = 512
    tokenizer: str = "byte"
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    skip: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("context", 2), ("block", 1), ("seed", 0)):
            if not least <= getattr(self, name) < 2**62:
                raise InputError(f"{name} = {getattr(self, name)} must be a whole number of at least {least}")
        if self.packing not in ("concat", "pack", "pad"):
            raise InputError(f"packing = {self.packing!r}: {suggest(self.packing, ('concat', 'pack', 'pad'))}")
        if not self.sources:
            raise InputError("a plan needs sources: add a table [sources.NAME] with its path")
        if not self.phases:
            raise InputError("a plan needs phases: add a table [[phases]]")
        for number, phase in enumerate(self.phases):
            for name in (*phase.take, *phase.weights, *phase.end_weights):
                if name not in self.sources:
                    raise InputError(f"phases[{number}] names source {name!r}: {suggest(name, self.sources)}")
        for domain, (least, most) in self.limits.items():
            if not 0 <= least <= most <= 1:
                raise InputError(f"limits.{domain} = {[least, most]} must be two shares 0 <= least <= most <= 1")
        if any(number < 0 for number in self.skip):
            raise InputError(f"skip = {list(self.skip)} must be numbers of windows, at least 0")
        object.__setattr__(self, "skip", tuple(sorted(set(self.skip))))

    def replace(self, **changes: Any) -> Plan:
        """A copy with some fields changed, checked anew."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, as TOML holds them."""
        return plain(self)

    def to_toml(self) -> str:
        """The plan as TOML text; ``load_plan`` reads it back equal."""
        return write_toml(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Plan:
        """Builds and checks a plan.

        Raises:
            InputError: an unknown key (the nearest is named), a wrong type, a value out of range.
        """
        check_keys(cls, document)
        return from_document(cls, document, what="plan", located=True)


def load_plan(path: str | Path) -> Plan:
    """Reads a plan from a TOML file; relative paths in it are those beside the file, where something lies there.

    Raises:
        InputError: no such file, not TOML, or see ``Plan.from_dict``.
    """
    document = read_toml(path, "plan")
    try:
        plan = Plan.from_dict(document)
    except InputError as error:
        raise InputError(f"plan {path}: {error}") from None
    folder = Path(path).parent
    sources = {name: dataclasses.replace(each, path=_beside(folder, each.path)) for name, each in plan.sources.items()}
    return plan.replace(sources=sources, tokenizer=_beside(folder, plan.tokenizer))


def parse_order(order: str) -> tuple[str, int]:
    """An order's name and its number (0 where it has none).

    Raises:
        InputError: an unknown order.
    """
    if order in ("uniform", "ascend", "descend", "interleave"):
        return order, 0
    found = re.fullmatch(r"(fold|bucket):([1-9][0-9]{0,8})", order)
    if not found:
        raise InputError(f"order = {order!r} is not known: {suggest(order, ORDERS)}")
    return found[1], int(found[2])


def _beside(folder: Path, path: str) -> str:
    there = folder / path
    return str(there) if there.exists() or there.with_name(f"{there.name}.json").exists() else path


def _check_weights(name: str, weights: Mapping[str, float]) -> None:
    for source, weight in weights.items():
        _within(f"{name}.{source}", weight, 0.0, 1.0)
    total = math.fsum(weights.values())
    if abs(total - 1) > TOLERANCE:
        raise InputError(f"{name} sum to {total:.6g}, not 1: divide them by their sum")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high or math.isinf(value):
        upper = f" and at most {high:g}" if high < math.inf else ""
        raise InputError(f"{name} = {value} must be a finite number of at least {low:g}{upper}")
