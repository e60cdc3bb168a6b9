"""Planning a run from a budget: laws of size, rates, repetition and schedule in one plan. Names load on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.laws.budget.compute import DEVICES as DEVICES
    from thalweg.laws.budget.compute import Budget as Budget
    from thalweg.laws.budget.compute import Device as Device
    from thalweg.laws.budget.own import OwnLaws as OwnLaws
    from thalweg.laws.budget.own import read_law as read_law
    from thalweg.laws.budget.plan import RunPlan as RunPlan
    from thalweg.laws.budget.plan import plan_run as plan_run
    from thalweg.laws.budget.published import RATE_LAWS as RATE_LAWS
    from thalweg.laws.budget.published import SIZE_LAWS as SIZE_LAWS
    from thalweg.laws.budget.quantities import parse_quantity as parse_quantity
    from thalweg.laws.budget.rates import RateLaw as RateLaw
    from thalweg.laws.budget.search import Constraints as Constraints
    from thalweg.laws.budget.search import Data as Data
    from thalweg.laws.budget.sizes import SizeLaw as SizeLaw

HOMES = {
    "DEVICES": "compute",
    "RATE_LAWS": "published",
    "SIZE_LAWS": "published",
    "Budget": "compute",
    "Constraints": "search",
    "Data": "search",
    "Device": "compute",
    "OwnLaws": "own",
    "RateLaw": "rates",
    "RunPlan": "plan",
    "SizeLaw": "sizes",
    "parse_quantity": "quantities",
    "plan_run": "plan",
    "read_law": "own",
}

__all__ = sorted(HOMES)  # pyrefly: ignore


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
