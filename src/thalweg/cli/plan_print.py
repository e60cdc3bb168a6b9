"""What thalweg plan prints of a plan from a budget."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.laws.budget import RunPlan

__all__ = ["say"]


def say(plan: RunPlan, *, mfu: float, device: str | None, published_only: bool) -> None:
    """Prints the plan, its trade-offs and its sources on stdout, warnings on stderr."""
    from thalweg.cli.output import table
    from thalweg.laws.budget.words import choice_words, facts

    if published_only:
        print("No own law was given: this plan rests on published laws alone.\n")
    table(("", "plan", "interval or note"), facts(plan, mfu=mfu, device=device))
    for choice, rows in choice_words(plan).items():
        print()
        table((choice, "loss, nats", "range", "FLOPs", "says"), rows)
    print()
    for origin in plan.origins:
        print(f"{origin.role}: {origin.name}, {origin.source}{'; ' + origin.range if origin.range else ''}")
        print(f"  {origin.about}")
    print(f"missing: {'; '.join(plan.missing)}")
    for said in plan.warnings:
        print(f"note: {said}", file=sys.stderr)
