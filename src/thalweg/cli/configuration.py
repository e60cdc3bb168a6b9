"""What fit, predict and plan print of configuration laws."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.laws.configuration import ConfigTable
    from thalweg.laws.configuration.calibration import Calibration

__all__ = ["fit_configuration", "is_configuration", "predict_configuration", "say_beyond", "value_text"]


def is_configuration(path: Path) -> bool:
    """Whether a file looks like a saved configuration law: its first bytes say so."""
    try:
        with path.open("rb") as file:
            head = file.read(80)
    except OSError:
        return False
    return b'"law": "configuration"' in head


def fit_configuration(
    tables: Sequence[Path],
    *,
    target: str | None,
    backbone: str,
    ood: str | None,
    ignore: str,
    calibrate: bool | None,
    seed: int,
    out: Path | None,
    json: bool,
) -> None:
    """Fits a configuration law to one table, scores it on the rows left out, and prints both."""
    import time
    from dataclasses import asdict

    from thalweg.cli.output import emit, table
    from thalweg.errors import InputError
    from thalweg.laws.configuration import ConfigurationLaw, read_configurations, score

    if len(tables) != 1:
        raise InputError(f"law configuration takes one table of runs; got {len(tables)} files")
    rows = read_configurations(tables[0], target=target, ignore=[name.strip() for name in ignore.split(",")])
    if ood is not None:
        rows = _held_out(rows, ood)
    began = time.perf_counter()
    law = ConfigurationLaw.fit(rows, backbone=backbone, seed=seed, calibrated=calibrate)
    seconds = time.perf_counter() - began
    if out is not None:
        law.save(out)
    scores = {}
    for split in ("train", "in_val", "ood_val"):
        part = rows.part(split)
        if len(part) >= 3:
            scores[split] = asdict(score(law, part))
    calibration = None if law.calibration is None else law.calibration.to_dict()
    result = {"law": "configuration", "backbone": backbone, "baseline": asdict(law.baseline), "scores": scores}
    result |= {"calibration": calibration}
    if json:
        emit("fit", result | {"seconds": seconds, "runs": len(law.table)})
        return
    base = law.baseline
    print(
        f"baseline {base.E:.4g} + {base.A:.4g} N^-{base.alpha:.3f} + {base.B:.4g} D^-{base.beta:.3f}, {backbone} on "
        f"{len(law.table)} runs, {seconds:.1f} s"
    )
    names = {"train": "fitted runs", "in_val": "unseen, fitted sizes", "ood_val": "unseen, larger"}
    cells = [
        (
            names[split], s["runs"], f"{s['spearman']:.4f}", f"{s['mae']:.4f}", f"{s['rmse']:.4f}",
            f"{s['baseline_spearman']:.4f}", f"{s['baseline_mae']:.4f}", f"{100 * s['coverage']:.0f} %",
        )
        for split, s in scores.items()
    ]  # fmt: skip
    headings = ("runs", "n", "rank corr.", "MAE", "RMSE", "Chinchilla rank", "Chinchilla MAE", "inside 90 %")
    table(headings, cells)
    print(_widths(law.calibration))
    if out is not None:
        print(f"law: {out}")


def _widths(calibration: Calibration | None) -> str:
    """What the 90 % intervals stand on, in a sentence."""
    if calibration is None:
        return "90 % intervals: not calibrated, 1.645 deviations of the members"
    said = f"90 % intervals: {calibration.inside:.3g} deviations (from {calibration.runs_inside} runs left out)"
    if calibration.runs_beyond:
        return f"{said}, {calibration.beyond:.2g} nats more an e-fold beyond (from {calibration.runs_beyond} largest)"
    return f"{said}; beyond the fitted sizes and data not calibrated"


def _held_out(rows: ConfigTable, rule: str) -> ConfigTable:
    """The table with the rows that ``field>=number`` picks as "ood_val", a fifth of the others as "in_val"."""
    from dataclasses import replace

    import numpy as np

    from thalweg.errors import InputError, suggest
    from thalweg.laws.configuration import parse_config

    name, sign, value = rule.partition(">=")
    if not sign:
        raise InputError(f"--ood is {rule!r}: give field>=number, as params>=500M")
    field, number = next(iter(parse_config(f"{name}={value}").items()))
    if field not in rows.numbers or isinstance(number, str):
        raise InputError(f"--ood names {field!r}, no column of numbers: {suggest(field, rows.numbers)}")
    far = rows.numbers[field] >= number
    if not far.any() or far.all():
        raise InputError(f"--ood {rule!r} holds for {far.sum()} of {len(rows)} rows: choose a number that parts them")
    held = np.random.default_rng(0).random(len(rows)) < 0.2
    return replace(rows, split=["ood_val" if f else "in_val" if h else "train" for f, h in zip(far, held, strict=True)])


def predict_configuration(law: Path, config: str, *, points: int, csv: Path | None, json: bool) -> None:
    """Predicts one configuration's final loss, or its curve at so many points."""
    import numpy as np

    from thalweg.cli.output import emit, table
    from thalweg.files import write_atomic
    from thalweg.laws.configuration import ConfigurationLaw, parse_config

    fitted, chosen = ConfigurationLaw.load(law), parse_config(config)
    found = fitted.predict([chosen])
    result: dict[str, Any] = {"law": "configuration", "config": chosen, "beyond": found.beyond[0]}
    result |= {"final_loss": found.loss[0], "low": found.low[0], "high": found.high[0], "baseline": found.baseline[0]}
    if points:
        fracs = np.arange(1, points + 1) / points
        curve = fitted.predict_curve(chosen, fracs)
        result["curve"] = {"frac": fracs, "loss": curve.loss, "low": curve.low, "high": curve.high}
        if csv is not None:
            lines = (f"{f!r},{v!r}\n" for f, v in zip(fracs.tolist(), curve.loss.tolist(), strict=True))
            write_atomic(csv, "frac,loss\n" + "".join(lines))
    if json:
        emit("predict", result)
        return
    low, high, base = float(found.low[0]), float(found.high[0]), float(found.baseline[0])
    cells = [(f"{found.loss[0]:.4f} nats/token", f"{low:.4f} to {high:.4f}", f"{base:.4f}")]
    table(("final loss", "90 % interval", "Chinchilla law alone"), cells)
    if points:
        curve_cells = [
            (f"{f:.3f}", f"{v:.4f}") for f, v in zip(result["curve"]["frac"], result["curve"]["loss"], strict=True)
        ]
        table(("share of the training", "loss"), curve_cells)
    say_beyond(found.beyond[0])


def say_beyond(beyond: str) -> None:
    """The warning of a configuration outside the fitted range, on stderr."""
    if beyond:
        print(f"outside the fitted range, where no interval is guaranteed: {beyond}", file=sys.stderr)


def value_text(values: Mapping[str, Any] | float | str) -> str:
    """A configuration as ``name=value, …``, or one value, in four digits."""
    if isinstance(values, Mapping):
        return ", ".join(f"{name}={value_text(value)}" for name, value in values.items())
    return values if isinstance(values, str) else f"{values:.4g}"
