"""Why a plan says what it says: the laws it used, what lies outside their ranges, and what no law said.

Source: our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.laws.budget import published
from thalweg.laws.budget.compute import Budget
from thalweg.laws.budget.own import OwnLaws
from thalweg.laws.budget.quantities import quantity_text
from thalweg.laws.budget.rates import RateLaw
from thalweg.laws.budget.search import Data
from thalweg.laws.budget.sizes import SizeLaw, outside

__all__ = ["Origin", "beyond", "missing", "origins", "ranges", "repetition", "unspent"]


@dataclass(frozen=True, slots=True)
class Origin:
    """A law that a plan rests on.

    Attributes:
        role: what it decides.
        name: of the law.
        source: paper or file.
        about: what to know of it.
        range: the runs it was fitted to, in words; empty where not known.
    """

    role: str
    name: str
    source: str
    about: str
    range: str


def beyond(law: SizeLaw, rates: RateLaw, size: float, tokens: float) -> list[str]:
    """Warnings of size and data outside the runs of either law."""
    return [
        *outside(law.name, [("parameters", size, law.sizes), ("tokens", tokens, law.tokens)]),
        *outside(rates.name, [("parameters", size, rates.sizes), ("tokens", tokens, rates.tokens)]),
    ]


def repetition(data: Data, epochs: float | None) -> list[str]:
    """Warnings of many epochs and of a law of repetition outside its range."""
    if epochs is None or epochs <= 1 or data.unique is None:
        return []
    said = []
    if not data.reuse.smallest <= data.unique <= data.reuse.largest:
        low, high = quantity_text(data.reuse.smallest), quantity_text(data.reuse.largest)
        said.append(
            f"{quantity_text(data.unique)} unique tokens lie outside those of the law of repetition, {low} to {high}"
        )
    stop = data.reuse.best_epochs(data.unique)
    if epochs > stop:
        said.append(f"{epochs:.3g} epochs: beyond {stop:.3g} another one is worth less than half a fresh pass")
    return said


def unspent(budget: Budget, flops: float) -> list[str]:
    """A warning where a limit on the data leaves a tenth of the budget or more."""
    if budget.flops is None or flops >= 0.9 * budget.flops:
        return []
    return [f"only {flops:.3g} of the budget's {budget.flops:.3g} FLOPs are used: the limit on the data ends it"]


def missing(law: SizeLaw, own: OwnLaws, unique: float | None, budget: Budget, steps: int | None) -> tuple[str, ...]:
    """What no law or argument said."""
    said = []
    if law.covariance is None:
        said.append("an interval of loss and size: none that can be used comes with the law of size and data")
    if own.curve is None:
        said.append("what the schedule's shape costs: that needs a fitted curve law")
    if unique is None:
        said.append("epochs: the unique tokens at hand are not given, so they count as always enough")
    if budget.device is None:
        said.append("GPU hours and cost: no device is named")
    if steps is None:
        said.append("batch, steps and schedule: the table of best values has no column batch")
    said.append("memory of activations: it depends on micro-batch and recomputation")
    return tuple(said)


def origins(law: SizeLaw, rates: RateLaw, data: Data, own: OwnLaws) -> tuple[Origin, ...]:
    """The laws used."""
    found = [
        Origin(
            "size, data and loss",
            law.name,
            law.source,
            f"{law.about} N counts {law.counts}.",
            ranges(law.sizes, law.tokens),
        ),
        Origin("learning rate and batch", rates.name, rates.source, rates.about, ranges(rates.sizes, rates.tokens)),
    ]
    if data.unique is not None and own.reuse is None:
        about, where = published.REUSE_ABOUT, "models of up to 9B parameters on up to 900B tokens"
        found.append(Origin("epochs", "data-constrained law", published.REUSE_SOURCE, about, where))
    elif data.unique is not None:
        used = data.reuse
        words = f"R(N) of form {used.form}: a = {used.a:.4g}, c = {used.c:.4g}. No interval is stored with it."
        found.append(
            Origin(
                "epochs", "own law of repetition", "own runs", words, f"{used.smallest:g} to {used.largest:g} tokens"
            )
        )
    if own.curve is not None:
        seen = own.curve.record.seen if own.curve.record is not None else None
        where = "" if seen is None else f"{len(seen.curves)} curves, up to {seen.steps} steps, peak {seen.peak:.3g}"
        words = "A fitted law over schedules."
        found.append(Origin("shape of the schedule", own.curve.name, "own curves", words, where))
    return tuple(found)


def ranges(sizes: tuple[float, float] | None, tokens: tuple[float, float] | None) -> str:
    """The fitted runs in words; empty where they are not known."""
    if sizes is None or tokens is None:
        return ""
    ends = [quantity_text(value) for value in (*sizes, *tokens)]
    return f"{ends[0]} to {ends[1]} parameters, {ends[2]} to {ends[3]} tokens"
