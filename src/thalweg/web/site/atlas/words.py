"""Outcomes in the words of the pages: a row of the list, the table of seeds, pages of records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from thalweg.web.page import Column, Table
from thalweg.web.study_views import STATES, drawn_effect, effect_text, state_class
from thalweg.web.words import duration, moment, significant

if TYPE_CHECKING:
    from thalweg.studies.outcomes import Outcome
    from thalweg.web.site.atlas.states import State

__all__ = ["address_of", "record_table", "row_of", "seed_table"]

CELL = 60  # characters of a value in the table of records; the download has all
COLUMNS = 14


def address_of(outcome: Outcome) -> str:
    """The outcome's page."""
    return f"/studies/{outcome.slug}/outcomes/{quote(outcome.name, safe='')}"


def row_of(outcome: Outcome, state: State) -> dict[str, Any]:
    """What the templates show of an outcome."""
    verdict = str(outcome.verdict.get("verdict"))
    known = verdict in STATES
    request = outcome.request
    asked = request.get("seeds")
    drawn = drawn_effect(outcome.verdict) if known else {"bar": "", "remark": ""}
    return {
        "name": outcome.name,
        "address": address_of(outcome),
        "slug": outcome.slug,
        "scale": outcome.scale,
        "seeds": f"{len(outcome.seeds)}" + (f" of {asked}" if state.active and isinstance(asked, int) else ""),
        "state": state.key,
        "sentence": state.sentence,
        "active": state.active,
        "stops": int(request.get("stops") or 0),
        "verdict": verdict if known else "",
        "sign": STATES.get(verdict, ""),
        "style": state_class(verdict) if known else "",
        "effect": effect_text(outcome.verdict) if known else "",
        "seconds": duration(outcome.verdict.get("seconds")) if known else "",
        "runs": outcome.verdict.get("runs"),
        "date": moment(datetime.fromtimestamp(outcome.changed, UTC).isoformat(timespec="seconds")),
        **drawn,
    }


def seed_table(documents: Sequence[Mapping[str, Any]]) -> Table:
    """Seconds, records and surroundings of each seed."""
    columns = [Column("Seed"), Column("Records", True), Column("Time", True), Column("Started"), Column("Device")]
    rows = []
    for document in documents:
        around = document.get("environment") or {}
        threads = around.get("threads")
        device = f"{around.get('device', '')}" + (f", threads {threads}" if threads else "")
        seconds, records = document.get("seconds"), document.get("records") or ()
        started = moment(str(around.get("started", "")))
        rows.append([document.get("seed"), len(records), duration(seconds), started, device])
    return Table("Seeds", [*columns], rows)


def record_table(records: Sequence[Mapping[str, Any]], caption: str) -> Table:
    """Records as a table: a column for each key, in the order in which they occur; long values are cut."""
    keys = list(dict.fromkeys(key for record in records for key in record))
    shown = keys[:COLUMNS]
    hidden = f"; {len(keys) - COLUMNS} more columns are in the download" if len(keys) > COLUMNS else ""
    columns = [Column(key, all(_numeric(record.get(key)) for record in records)) for key in shown]
    return Table(caption + hidden, columns, [[_cell(record.get(key)) for key in shown] for record in records])


def _numeric(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return significant(value, 6) if math.isfinite(value) else str(value)
    if isinstance(value, list) and len(value) > 3:
        return f"[{', '.join(_cell(item) for item in value[:3])}, … {len(value)} values]"[:CELL]
    text = str(value)
    return text if len(text) <= CELL else text[:CELL] + " …"
