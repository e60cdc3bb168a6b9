"""How the default fitter's choices were made: on the training curves alone, at both sizes.

Prints one row a candidate. Folds: each training curve left out once (its error over all logged points after warmup),
and three cuts in time (fit on all points before the cut, predict those after it). No test curve is read.

    python benchmarks/laws_selection.py
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from laws_published import TRAIN, curves

from thalweg.laws import LAWS, LossCurve
from thalweg.laws.fitting import Settings, fit_points

CUTS = (9000, 10500, 13000)
LAW = LAWS["multi-power"]


def errors(law, curve: LossCurve, after: int = 0) -> tuple[float, float]:
    keep = curve.steps >= max(after, curve.warmup)
    predicted = law.predict(curve.rates, at=curve.steps[keep], warmup_steps=curve.warmup)
    off = np.abs(predicted - curve.losses[keep]) / curve.losses[keep]
    return float(off.mean()), float(off.max())


def folds(found: dict[str, LossCurve], form: str, settings: Settings | None) -> np.ndarray:
    """(mean, worst) relative error of every fold, shape (folds, 2)."""

    def fit(curves: list[LossCurve]):
        if settings is None:
            return fit_points(LAW, curves, method="plain", form=form)
        return fit_points(LAW, curves, form=form, settings=settings)

    rows = []
    for left in found:
        rows.append(errors(fit([found[name] for name in found if name != left]), found[left]))
    for cut in CUTS:
        law = fit([curve.select(curve.steps < cut) for curve in found.values()])
        rows.append(np.mean([errors(law, curve, cut) for curve in found.values()], axis=0))
    return np.array(rows)


def main() -> None:
    data = {size: curves(size, TRAIN) for size in ("25M", "100M")}
    base = Settings()
    candidates: list[tuple[str, str, Settings | None]] = [("paper", "plain", None), ("code", "plain", None)]
    held = (("warmup_share", "rate_power"), ("rate_power",), ("warmup_share",), ())
    for form, fixed, transient, strength in product(("paper", "code"), held, (False, True), (0.03, 0.1, 0.3, 1.0)):
        text = f"held={'+'.join(fixed) or 'none'} weights={'profile' if transient else 'equal'} strength={strength}"
        candidates.append((form, text, replace(base, fixed=fixed, transient=transient, strength=strength)))
    print("errors in 1e-3, mean/worst; L: curve left out, F: predicted beyond the cut; score: mean over both sizes")
    for form, text, settings in candidates:
        line, score = "", []
        for size, found in data.items():
            table = 1e3 * folds(found, form, settings)
            score.append(table.mean(axis=0))
            line += f" | {size} " + " ".join(f"{mean:.2f}/{worst:.2f}" for mean, worst in table)
        mean, worst = np.mean(score, axis=0)
        print(f"{form:5s} {text:62s} {mean:5.2f}/{worst:5.2f}{line}", flush=True)


if __name__ == "__main__":
    main()
