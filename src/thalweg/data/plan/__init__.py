"""Plans: what is read, how often and in which order, as a pure function of (plan, window)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg.data.plan.arrange import bucket_order, interleaved_order, order_by_quality
from thalweg.data.plan.order import Order
from thalweg.data.plan.rows import Rows, TokenDataset, read_rows
from thalweg.data.plan.schema import ORDERS, Phase, Plan, Source, Take, load_plan
from thalweg.data.plan.state import read_state, state_of

if TYPE_CHECKING:
    from thalweg.data.plan.figure import plot_ledger
    from thalweg.data.plan.loader import PlanLoader, PlanSampler, PlanStream

__all__ = [
    "ORDERS",
    "Order",
    "Phase",
    "Plan",
    "PlanLoader",
    "PlanSampler",
    "PlanStream",
    "Rows",
    "Source",
    "Take",
    "TokenDataset",
    "bucket_order",
    "interleaved_order",
    "load_plan",
    "order_by_quality",
    "plot_ledger",
    "read_rows",
    "read_state",
    "state_of",
]

_LAZY = {"PlanLoader": "loader", "PlanSampler": "loader", "PlanStream": "loader", "plot_ledger": "figure"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"thalweg.data.plan.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
