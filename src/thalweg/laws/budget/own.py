"""The user's own laws for a plan: told apart by what their file says, and tables fitted on the spot.

Source: our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.budget.rates import RateLaw, fit_rates
from thalweg.laws.budget.sizes import SizeLaw
from thalweg.laws.chinchilla_size import ChinchillaSize, SizeTable
from thalweg.laws.columns import columns_of
from thalweg.laws.reuse import ReuseLaw

if TYPE_CHECKING:
    from thalweg.laws.configuration import ConfigurationLaw
    from thalweg.laws.law import Law

__all__ = ["OwnLaws", "fit_sizes", "read_law", "read_table"]

KINDS = "chinchilla-size, configuration, reuse, or a law of curves"
SAMPLES = 60  # bootstrap samples of a table of runs


@dataclass(frozen=True, eq=False, slots=True)
class OwnLaws:
    """What a plan uses in place of the published laws.

    Attributes:
        sizes: of size and data.
        rates: of learning rate and batch.
        reuse: of epochs.
        curve: over schedules.
        configuration: of everything at once; then ``sizes`` is not asked.
    """

    sizes: SizeLaw | None = None
    rates: RateLaw | None = None
    reuse: ReuseLaw | None = None
    curve: Law | None = None
    configuration: ConfigurationLaw | None = None

    def joined(self, other: OwnLaws) -> OwnLaws:
        """Both; a kind that both have is refused.

        Raises:
            InputError: two laws of one kind.
        """
        found = self
        for name in self.__dataclass_fields__:
            theirs = getattr(other, name)
            if theirs is not None and getattr(self, name) is not None:
                raise InputError(f"two laws of the kind {name!r} are given: keep one")
            found = found if theirs is None else replace(found, **{name: theirs})
        return found


def read_law(text: str, source: str, *, weights: Path | None = None) -> OwnLaws:
    """A saved law of any kind that a plan can use.

    Args:
        text: of the JSON file.
        source: its name, for sentences.
        weights: file of a configuration network's weights.

    Raises:
        InputError: no JSON (with line and column), no law, or of no use here.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{source} is not JSON ({error.msg} at {where}): give a saved law") from None
    except RecursionError:
        raise InputError(f"{source} is nested too deeply for a law: give a saved law") from None
    name = content.get("law") if isinstance(content, Mapping) else None
    if not isinstance(name, str):
        raise InputError(f"{source} is JSON but no law: give a saved law ({KINDS})")
    if name == "chinchilla-size":
        return OwnLaws(sizes=_written(text, source))
    if name == "reuse":
        return OwnLaws(reuse=ReuseLaw.from_json(text))
    if name == "configuration":
        from thalweg.laws.configuration import ConfigurationLaw

        return OwnLaws(configuration=ConfigurationLaw.from_json(text, source, weights=weights))
    from thalweg.laws.registry import LAWS

    if name not in LAWS:
        raise InputError(f"{source} holds the law {name[:60]!r}, which a plan cannot use: give {KINDS}")
    from thalweg.laws.store import from_json

    return OwnLaws(curve=from_json(text, source))


def _written(text: str, source: str) -> SizeLaw:
    """A chinchilla-size law, checked to have an optimum."""
    law = ChinchillaSize.from_json(text)
    values = [getattr(law, name) for name in law.__dataclass_fields__]
    if not all(isinstance(value, (int, float)) and np.isfinite(value) for value in values):
        raise InputError(f"{source} has parameters that are no finite numbers: fit and save the law again")
    if law.E < 0 or min(law.A, law.B, law.alpha, law.beta) <= 0:
        raise InputError(f"{source} has no best size: A, B, alpha and beta must be > 0 and E at least 0")
    about = "The file holds neither the fitted runs' range nor an uncertainty; give the runs' table for both."
    return SizeLaw("own law of size and data", law, source, about)


def read_table(text: str, source: str, context: int) -> OwnLaws:
    """A law fitted to a CSV: of size and data (params, tokens, loss), or of rates (params, tokens, lr, batch).

    Args:
        text: of the table. With a column lr each row has the best values found for a size and an amount of data; batch,
            in sequences, may be missing.
        source: its name, for sentences.
        context: tokens a sequence, by which the batch becomes tokens.

    Raises:
        InputError: a missing column, a cell that is no number (with its line), or what the fit refuses.
    """
    names = [name.strip() for name in (text.splitlines() or [""])[0].split(",")]
    if "lr" not in names:
        columns, _ = columns_of(text, source, ("params", "tokens", "loss"))
        return OwnLaws(sizes=fit_sizes(SizeTable(columns["params"], columns["tokens"], columns["loss"]), source))
    wanted = ("params", "tokens", "lr", *(("batch",) if "batch" in names else ()))
    columns, _ = columns_of(text, source, wanted)
    sizes, tokens, rates = (columns[name].tolist() for name in ("params", "tokens", "lr"))
    batches = (columns["batch"] * context).tolist() if "batch" in columns else None
    return OwnLaws(rates=fit_rates(sizes, tokens, rates, batches, source=source))


def fit_sizes(table: SizeTable, source: str) -> SizeLaw:
    """A law with range, scatter and bootstrap covariance.

    Args:
        table: final losses of runs.
        source: where they are from.

    Raises:
        InputError: too few runs, or runs whose fit has no best size.
    """
    law = ChinchillaSize.fit(table)
    if min(law.A, law.B, law.E) <= 0:
        raise InputError(f"{source}: the runs determine no best size (A = {law.A:.3g}, B = {law.B:.3g}): add sizes")
    rng, drawn = np.random.default_rng(0), []
    for _ in range(SAMPLES):
        rows = rng.integers(0, len(table.losses), len(table.losses))
        try:
            part = SizeTable(table.sizes[rows], table.tokens[rows], table.losses[rows])
            again = ChinchillaSize.fit(part, method="hoffmann", start=law)
        except InputError:
            continue  # a sample of one size
        if min(again.A, again.B, again.E, again.alpha, again.beta) > 0:
            drawn.append([np.log(again.A), np.log(again.B), np.log(again.E), again.alpha, again.beta])
    missed = np.log(law.predict(table.sizes, table.tokens) / table.losses)
    spread = float(np.sqrt((missed**2).sum() / max(len(missed) - 5, 1)))
    enough = len(drawn) >= SAMPLES // 2
    about = f"Fitted to {len(missed)} runs; interval from {len(drawn)} bootstrap samples of them."
    return SizeLaw(
        "own runs, Chinchilla form",
        law,
        source,
        about if enough else f"Fitted to {len(missed)} runs, too few for an interval.",
        sizes=(float(table.sizes.min()), float(table.sizes.max())),
        tokens=(float(table.tokens.min()), float(table.tokens.max())),
        covariance=np.cov(np.array(drawn).T) if enough else None,
        spread=spread if enough else 0.0,
    )
