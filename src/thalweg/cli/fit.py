"""thalweg fit: a law from logged loss curves, or from a table of configurations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from thalweg.laws import Law, LossCurve

__all__ = ["fit"]


def fit(
    *curves: Path,
    train: str | None = None,
    schedules: Path | None = None,
    law: str = "multi-power",
    method: Literal["default", "plain", "reference"] = "default",
    warmup: Literal["paper", "code"] | None = None,
    draws: int = 100,
    seed: int = 0,
    out: Path | None = None,
    plot: Path | None = None,
    target: str | None = None,
    backbone: str = "surface",
    ood: str | None = None,
    ignore: str = "",
    calibrate: bool | None = None,
    json: bool = False,
) -> None:
    """Fit a loss-curve law, or a configuration law, and say how well it predicts what it did not see.

    Parameters
    ----------
    curves
        CSV or JSON lines (columns step, loss, optional lr and schedule or name), or exports of Weights & Biases or
        TensorBoard. With --law configuration: one CSV of runs, a column a field and one of losses.
    train
        Names of the curves to fit, with commas [default: all].
    schedules
        TOML of schedule specs by curve name, or CSV of per-step rates (columns schedule, step, lr).
    law
        multi-power, momentum, one-power or chinchilla-steps; configuration: from full training configurations.
    method
        default, plain (the paper's objective at its optimum), or reference (the official procedure).
    warmup
        Form of the multi-power law: paper, or code (as the official program counts).
    draws
        Bootstrap draws for the intervals; 0 for none.
    seed
        Of the bootstrap.
    out
        Save the law here, as JSON.
    plot
        Draw curves and law here (.png, .svg or .pdf).
    target
        Configuration law: column of the loss, where the table has several.
    backbone
        Configuration law: surface, boosted, tiny, or the folder of a language model of transformers.
    ood
        Configuration law: rows left out as larger runs, e.g. params>=500M [default: the column split, if any].
    ignore
        Configuration law: columns left out, with commas.
    calibrate
        Configuration law: fit up to three times more to set the intervals' width [default: not for networks].
    json
        Print one JSON object.
    """
    import time

    from thalweg.cli.figures import check, save
    from thalweg.cli.output import emit
    from thalweg.errors import InputError
    from thalweg.laws import fit as fit_law
    from thalweg.laws import read_curves

    if law == "configuration":
        from thalweg.cli.configuration import fit_configuration

        given = {"target": target, "backbone": backbone, "ood": ood, "ignore": ignore, "calibrate": calibrate}
        fit_configuration(curves, **given, seed=seed, out=out, json=json)
        return
    if not curves:
        raise InputError("fit got no file of curves; name at least one CSV or JSON lines file")
    check(plot)
    found = read_curves(list(curves), schedules=schedules)
    names = _chosen(found, train)
    began = time.perf_counter()
    fitted = fit_law([found[name] for name in names], law, method=method, warmup=warmup, draws=draws, seed=seed)
    seconds = time.perf_counter() - began
    result = _result(fitted, found, names, seconds)
    if out is not None:
        fitted.save(out)
    if plot is not None:
        from thalweg.web.law_figures import law_figure

        save(law_figure(fitted, found, names), plot)
    if json:
        emit("fit", result)
    else:
        _print(fitted, result, out)


def _chosen(found: dict[str, LossCurve], train: str | None) -> list[str]:
    """The names of the curves to fit, each once."""
    from thalweg.errors import InputError, suggest

    names = list(found) if train is None else list(dict.fromkeys(filter(None, map(str.strip, train.split(",")))))
    if not names:
        raise InputError(f"--train is {train!r}, which names no curve; the files hold: {', '.join(found)}")
    for name in names:
        if name not in found:
            raise InputError(f"--train names {name!r}, which the files do not hold: {suggest(name, found)}")
    return names


def _result(fitted: Law, found: dict[str, LossCurve], names: list[str], seconds: float) -> dict[str, Any]:
    from dataclasses import asdict

    metrics = {
        name: asdict(fitted.metrics(curve)) | {"role": "train" if name in names else "test"}
        for name, curve in found.items()
    }
    record = fitted.record
    identified = None if record is None or record.identifiability is None else asdict(record.identifiability)
    return {
        "law": fitted.name,
        "params": dict(fitted.params),
        "intervals": fitted.intervals,
        "metrics": metrics,
        "trust": {name: _trust(fitted, curve) for name, curve in found.items() if name not in names},
        "identifiability": identified,
        "notes": {name: list(curve.notes) for name, curve in found.items() if curve.notes},
        "seconds": seconds,
    }


def _trust(fitted: Law, curve: LossCurve) -> dict[str, Any]:
    trust = fitted.trust(curve.rates, warmup_steps=curve.warmup)
    return {"level": trust.level, "reason": trust.reason, "beyond": dict(trust.beyond)}


def _print(fitted: Law, result: dict[str, Any], out: Path | None) -> None:
    from thalweg.cli.output import table

    rows = []
    for name, value in result["params"].items():
        low, high = result["intervals"].get(name, (float("nan"),) * 2)
        rows.append((name, f"{value:.5g}", f"{low:.4g} to {high:.4g}" if low == low else ""))
    table(("parameter", "value", "90 % interval"), rows, title=f"{fitted.name} law, {result['seconds']:.2f} s")
    identified = result["identifiability"]
    if identified and identified["loose"]:
        print(f"poorly determined: {', '.join(identified['loose'])} (use their combination, not their values)")
    print()
    errors = ("mae", "rmse", "r2", "pred_e", "worst_e")
    rows = [
        (name, m["role"], *(f"{m[key]:.5f}" for key in errors), result["trust"].get(name, {}).get("level", ""))
        for name, m in result["metrics"].items()
    ]
    table(("curve", "role", "MAE", "RMSE", "R2", "PredE", "WorstE", "trust"), rows)
    for name, notes in result["notes"].items():
        print(f"note on {name}: {'; '.join(notes)}")
    for name, trust in result["trust"].items():
        if trust["level"] != "high":
            print(f"trust in {name} is {trust['level']}: {trust['reason']}")
    if out is not None:
        print(f"law: {out}")
