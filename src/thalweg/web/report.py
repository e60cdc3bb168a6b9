"""The report of the main job: one HTML file with predictions over truth, the law, the schedules and their cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.files import write_atomic
from thalweg.web import figures
from thalweg.web.page import render
from thalweg.web.tables import costs, losses, params
from thalweg.web.words import (
    compared,
    duration,
    fixed,
    give_or_take,
    headline,
    moment,
    percent,
    significant,
    title,
    whole,
)

__all__ = ["write_report"]

STAGES = {
    "pilots": "Pilots trained",
    "law": "Law fitted, schedules designed and foretold",
    "long runs": "Long runs trained",
}


def write_report(result: Mapping[str, Any], path: str | Path, *, law: Mapping[str, Any] | None = None) -> Path:
    """Writes the report of a finished forecast as one self-contained HTML file; the same input gives the same bytes.

    Args:
        result: the content of ``result.json`` (see ``launch.forecast``). ``plan``, ``table``, ``schedules`` and
            ``runs`` must be there; what else is absent is left out of the page.
        path: the file to write, ``report.html``.
        law: the content of ``law.json``; with it the page says which parameters are poorly determined.

    Returns:
        The path written.
    """
    table, plan, runs = result["table"], result["plan"], result["runs"]
    pilots = {name.removeprefix("pilot-"): run for name, run in runs.items() if name.startswith("pilot-")}
    long = {name: runs[f"long-{name}"] for name in table if f"long-{name}" in runs}
    record = (law or {}).get("record") or {}
    content = {
        "title": headline(table),
        "lines": [_line(name, row) for name, row in table.items()],
        "verdict": compared(table),
        "made": result.get("made", ""),
        "moment": moment(result.get("made", "")),
        "facts": _facts(result),
        "curves": figures.curves(result),
        "finals": figures.finals(table),
        "losses": losses(table),
        "pilots": figures.pilots(pilots, plan["pilot_steps"]) if pilots else None,
        "misfits": [(title(name), run["metrics"]) for name, run in pilots.items()],
        "params": params(result.get("law", {}), record),
        "loose": (record.get("identifiability") or {}).get("loose", ()),
        "schedules": figures.schedules(long, plan["horizon"]) if long else None,
        "specs": [(title(name), figures.colour(name), row["spec"]) for name, row in table.items()],
        "costs": costs(runs),
        "stages": [(STAGES.get(name, name), duration(spent)) for name, spent in result.get("seconds", {}).items()],
        "shared": sum(run["shared"] for run in runs.values()),
        "plan": plan,
        "factor": plan["horizon"] / plan["pilot_steps"],
        "use": _use(table, plan),
        "fixed": fixed,
        "percent": percent,
        "whole": whole,
        "significant": significant,
    }
    return write_atomic(path, render("report.html", **content))


def _half(row: Mapping[str, Any]) -> float:
    low, high = row["interval"]
    return (high - low) / 2


def _inside(row: Mapping[str, Any]) -> bool:
    low, high = row["interval"]
    return low <= row["measured"] <= high


def _line(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    """One run of the headline list: predicted ± half the 90 % interval, measured, relative error."""
    return {
        "name": title(name),
        "key": figures.colour(name),
        "predicted": give_or_take(row["final_loss"], _half(row)),
        "measured": fixed(row["measured"]),
        "error": percent(row["error"]),
    }


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was trained, for the box under the headline: (name, value)."""
    plan, table = result["plan"], result["table"]
    facts = [("Long runs", f"{whole(plan['horizon'])} updates"), ("Pilots", f"{whole(plan['pilot_steps'])} updates")]
    recipe = plan.get("recipe") or {}
    if "model" in recipe and (count := _parameters(recipe["model"])):
        facts.append(("Model", f"{whole(count)} parameters"))
    if "batch" in recipe and "context" in recipe.get("data", {}):
        facts.append(("Batch", f"{recipe['batch']} \N{MULTIPLICATION SIGN} {recipe['data']['context']} tokens"))
    if result.get("data"):
        facts.append(("Data", result["data"]))
    if "seed" in recipe:
        facts.append(("Seed", f"{recipe['seed']} (one seed)"))
    hits = sum(map(_inside, table.values()))
    return [*facts, ("Inside the 90 % interval", f"{hits} of {len(table)} measured losses")]


def _parameters(model: Mapping[str, Any]) -> int | None:
    """How many parameters the model has; None where the entries are not those of a language model of ours."""
    from thalweg.errors import InputError
    from thalweg.nn.config import ModelConfig
    from thalweg.nn.cost import count_parameters

    try:
        return count_parameters(ModelConfig.from_dict(dict(model))).total
    except (InputError, TypeError):
        return None


def _use(table: Mapping[str, Mapping[str, Any]], plan: Mapping[str, Any]) -> dict[str, str] | None:
    """What to copy to use the designed schedule: Python lines, commands, a recipe file."""
    if "designed" not in table:
        return None
    spec, steps = table["designed"]["spec"], plan["horizon"]
    lines = [
        "from thalweg.schedules import ScheduleLR, parse",
        f"schedule = parse({spec!r})",
        f"scheduler = ScheduleLR(optimizer, schedule, steps={steps})  # scheduler.step() after each optimizer.step()",
    ]
    numbers = " ".join(f"--{key} {plan[key]!r}" for key in ("peak", "warmup", "floor") if key in plan)
    commands = [
        "thalweg train designed.toml",
        f"thalweg design law.json --steps {2 * steps} {numbers}",
    ]
    return {"python": "\n".join(lines), "shell": "\n".join(commands), "recipe": _recipe(plan, spec)}


def _recipe(plan: Mapping[str, Any], spec: str) -> str:
    """The recipe of the designed run as TOML, for ``thalweg train``."""
    import tomli_w

    if "recipe" not in plan:
        return ""
    return tomli_w.dumps({**plan["recipe"], "steps": plan["horizon"], "schedule": spec})
