"""What is asked of the planner, read from an address; the same text makes the form again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from thalweg.errors import InputError
from thalweg.laws.budget.quantities import parse_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thalweg.laws.budget import Budget, Constraints

__all__ = ["DEFAULTS", "MOST_LAWS", "Ask"]

DEFAULTS = {
    "amount": "1e20",
    "unit": "flops",
    "gpu": "h100",
    "mfu": "40",
    "price": "",
    "params": "",
    "tokens": "",
    "most": "",
    "unique": "",
    "epochs": "",
    "overtrain": "",
    "context": "2048",
    "schedule": "cosine",
    "published": "besiroglu",
}
"""The form's fields and what stands in them at first."""
LABELS = {
    "amount": "the budget",
    "mfu": "MFU",
    "price": "the price",
    "params": "parameters",
    "tokens": "tokens",
    "most": "tokens at most",
    "unique": "unique tokens",
    "epochs": "epochs at most",
    "overtrain": "over-training",
    "context": "context",
}
MOST_LAWS = 6
LONGEST = 40  # letters of a field that are read


@dataclass(frozen=True, slots=True)
class Ask:
    """The fields of the form as text, and the names of uploaded laws; hashable."""

    fields: tuple[str, ...]
    laws: tuple[str, ...]

    @classmethod
    def read(cls, query: Mapping[str, str], laws: list[str]) -> Ask:
        """The state of an address; fields that it leaves out stand at their default."""
        typed = tuple(query.get(name, default).strip()[:LONGEST] for name, default in DEFAULTS.items())
        return cls(typed, tuple(dict.fromkeys(laws))[:MOST_LAWS])

    @property
    def typed(self) -> dict[str, str]:
        """The fields by name."""
        return dict(zip(DEFAULTS, self.fields, strict=True))

    def query(self, *, laws: tuple[str, ...] | None = None) -> str:
        """The state as the query of an address, with other laws if given; defaults are left out."""
        typed = [(name, text) for name, text in self.typed.items() if text != DEFAULTS[name]]
        return urlencode([*typed, *(("law", name) for name in (self.laws if laws is None else laws))])

    def number(self, name: str) -> float | None:
        """A field as a number > 0; None where it is empty.

        Raises:
            InputError: it is none.
        """
        text = self.typed[name]
        return parse_quantity(text, LABELS[name]) if text else None

    @property
    def device(self) -> str | None:
        """The device's key; None where none is chosen."""
        return self.typed["gpu"] or None

    @property
    def mfu(self) -> float:
        """Share of the peak, from the percentage of the form."""
        share = self.number("mfu")
        return 0.4 if share is None else share / 100

    def budget(self) -> Budget:
        """The budget.

        Raises:
            InputError: an amount, unit or device that cannot be read.
        """
        from thalweg.laws.budget import Budget

        unit, amount = self.typed["unit"], self.number("amount")
        if unit not in ("flops", "hours"):
            raise InputError(f"the unit is {unit!r}: give flops or hours")
        price = None if self.typed["price"] in ("", "0") else self.number("price")
        given = {"gpu_hours" if unit == "hours" else "flops": amount}
        return Budget.of(**given, device=self.device, mfu=self.mfu, price=price if self.device else None)

    def constraints(self) -> Constraints:
        """What stands already.

        Raises:
            InputError: a number that cannot be read or is out of range.
        """
        from thalweg.laws.budget import Constraints

        params, tokens, most, epochs = (self.number(name) for name in ("params", "tokens", "most", "epochs"))
        return Constraints(params, tokens, most, epochs, self.number("overtrain") or 1.0)

    def context(self) -> int:
        """Tokens a sequence.

        Raises:
            InputError: no whole number of at least 1.
        """
        value = self.number("context") or 2048.0
        if value != int(value) or not 1 <= value <= 1e8:
            raise InputError(f"context is {self.typed['context']!r}: give a whole number of tokens, at least 1")
        return int(value)
