"""The tables of the report: final losses, parameters of the law, what each run cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from thalweg.web import figures
from thalweg.web.page import Column, Table
from thalweg.web.words import duration, fixed, give_or_take, percent, significant, title, whole

__all__ = ["costs", "losses", "params"]

# Of the multi-power law, arXiv 2503.12811 section 3: name -> (unit, meaning). Rates are per step, so sums of them have
# the unit of a rate.
MEANINGS = {
    "L0": ("nats/token", "the loss that more training at this rate and batch would approach"),
    "A": ("nats/token \N{MIDDLE DOT} rate^(p alpha)", "height of the power law in the summed learning rate"),
    "alpha": ("no unit", "its exponent: how fast the loss falls while the rate is held"),
    "B": ("nats/token per unit of rate", "what a fall of the learning rate gains in the end"),
    "C": ("rate^(gamma \N{MINUS SIGN} 1)", "how soon after the fall that gain comes"),
    "beta": ("no unit", "how slowly the rest of the gain follows"),
    "gamma": ("no unit", "how much sooner it comes when the rate has fallen low"),
    "warmup_share": ("no unit", "share of the warmup\N{RIGHT SINGLE QUOTATION MARK}s rate sum that counts as training"),
    "rate_power": ("no unit", "progress goes with this power of the rate; 1 in the paper"),
}


def losses(table: Mapping[str, Mapping[str, Any]]) -> Table:
    """Final losses: predicted, interval, measured, their difference, and how far to trust the prediction."""
    columns = [
        Column("Schedule"),
        Column("Predicted", True),
        Column("90 % interval", True),
        Column("Measured", True),
        Column("Its error", True),
        Column("Relative error", True),
        Column("Above designed", True),
        Column("Trust"),
    ]
    rows = []
    for name, row in table.items():
        low, high = row["interval"]
        gap = give_or_take(row["above_designed"], row["above_designed_error"])
        cells = [fixed(row["final_loss"]), f"{fixed(low)} to {fixed(high)}", fixed(row["measured"])]
        cells += [fixed(row["measured_error"]), percent(row["error"]), "\N{EN DASH}" if name == "designed" else gap]
        reason = row.get("reason", "").replace("+-", "\N{PLUS-MINUS SIGN}").replace(" %", "\N{NO-BREAK SPACE}%")
        rows.append(
            [{"name": title(name), "key": figures.colour(name)}, *cells, {"level": row["trust"], "reason": reason}]
        )
    return Table("Final validation losses, nats per token", columns, rows)


def params(law: Mapping[str, Any], record: Mapping[str, Any]) -> Table | None:
    """The law's parameters with intervals, units and meanings; those the pilots determine badly are marked."""
    if not law.get("params"):
        return None
    loose = (record.get("identifiability") or {}).get("loose", ())
    rows = []
    for name, value in law["params"].items():
        unit, meaning = MEANINGS.get(name, ("", ""))
        low, high = law.get("intervals", {}).get(name, (math.nan, math.nan))
        shown = "\N{EN DASH}" if math.isnan(low) else f"{significant(low, 3)} to {significant(high, 3)}"
        said = {"text": meaning, "note": "poorly determined" if name in loose else ""}
        rows.append([{"symbol": name}, significant(value), shown, unit, said])
    columns = [
        Column("Parameter"),
        Column("Value", True),
        Column("90 % interval", True),
        Column("Unit"),
        Column("Meaning"),
    ]
    return Table("The fitted multi-power law", columns, rows)


def costs(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Updates trained and shared, time and speed of each run, and their sums."""
    columns = [Column("Run"), Column("Updates trained", True), Column("Updates shared", True), Column("Time", True)]
    columns += [Column("Each update", True), Column("Tokens per second", True)]
    rows = []
    for name, run in runs.items():
        kind, _, rest = name.partition("-")
        each = f"{1000 * run['seconds'] / run['updates']:.1f} ms" if run["updates"] else "\N{EN DASH}"
        speed = whole(run["tokens_per_second"]) if run["tokens_per_second"] else "\N{EN DASH}"
        label = f"{kind}: {title(rest)}" if rest else kind
        rows.append([label, whole(run["updates"]), whole(run["shared"]), duration(run["seconds"]), each, speed])
    if len(rows) > 1:
        total = {key: sum(run[key] for run in runs.values()) for key in ("updates", "shared", "seconds")}
        rows.append(["all", whole(total["updates"]), whole(total["shared"]), duration(total["seconds"]), "", ""])
    return Table("What each run cost", columns, rows)
