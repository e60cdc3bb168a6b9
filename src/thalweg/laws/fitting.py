"""Fits a law to curves: the default procedure, a plain one, and the official one.

Default: multi-start Huber least squares in log space (delta 1e-3) with analytic Jacobian, in four steps.

1. Progress may go with a power of the rate, and the warmup may count for more or less than its rate sum: both are
   fitted (see rate_sum.py), for held at 1 they bend the drop, which then grows wrongly over a longer run.
2. Points are weighted by the inverse of a variance a + b S^-4 read off the residuals (late noise and the transient
   that follows warmup), so that the first losses, which no law over rate sums describes, do not bend alpha and L0.
3. The badly determined parameters (share, power, C, beta, gamma) have a wide Gaussian prior in scale-free units; its
   strength is the residuals' variance times their correlation length, so it fades as the data get better.
4. Points that a branched run repeats count once.

Plain: equal weights, no prior, share and power 1, every point: the objective of the paper, at its optimum.

Source: arXiv 2503.12811, section 3 (objective). The four steps are ours; they were chosen on training curves alone
(benchmarks/laws_selection.py); docs/cards/laws.md says where that choice does worse than the official procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.laws.bootstrap import bootstrap
from thalweg.laws.curve import LossCurve
from thalweg.laws.drops import FIT_ORDER, POLISH_ORDER
from thalweg.laws.identify import identify
from thalweg.laws.law import Form, Law
from thalweg.laws.points import WILD, Points, as_curves, correlation, gather, noise_profile, seen
from thalweg.laws.record import Record, Rival
from thalweg.laws.solve import Solution, solve

__all__ = ["Settings", "fit", "fit_points"]

Method = Literal["default", "plain", "reference"]
CLIP = 5e-3  # log residuals beyond this are clipped when the prior's strength is set
BACKTEST = 0.6  # share of a curve that the backtest fits
FIXABLE = ("warmup_share", "rate_power")
EARLY = 0.3  # points before this share of the largest rate sum weigh less in the first fit
ALPHAS = (0.25, 0.46, 0.8)  # exponents tried for the start; the middle one is the published centre


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices of the default procedure; each was made on training curves (benchmarks/laws_selection.py).

    Attributes:
        first_strength: prior strength before the noise is known (a log-variance).
        strength: prior strength in units of the residuals' variance times their correlation length.
        rounds: how often noise, weights and strength are read anew.
        transient: weight points by the noise profile; else all weights are 1.
        fixed: parameters held at 1, of ``warmup_share`` and ``rate_power``.
    """

    first_strength: float = 1e-6
    strength: float = 0.1
    rounds: int = 2
    transient: bool = True
    fixed: tuple[str, ...] = ()


def fit(
    curves: Mapping[str, LossCurve] | Iterable[LossCurve],
    law: str = "multi-power",
    *,
    method: Method = "default",
    warmup: Form | None = None,
    draws: int = 100,
    seed: int = 0,
    rivals: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> Law:
    """Fits a law to loss curves.

    Args:
        curves: the training curves; points in a curve's warmup are not used.
        law: a name of `LAWS`.
        method: ``default``, ``plain`` (the paper's objective at its optimum) or ``reference`` (the official procedure
            step by step; multi-power only).
        warmup: ``paper`` or ``code`` (see `Law`); absent: ``paper`` for the plain procedure and for laws that know no
            other, else ``code``: the warmup's rise builds up the noise that later falls remove.
        draws: bootstrap draws for the intervals; 0 for none. Not used by the reference procedure.
        seed: of the bootstrap.
        rivals: also fit the other laws, and this law to the first 60 % of each curve, so that `Law.trust` can tell how
            much the choice of law matters and how well the law foretells the curves' own ends.
        progress: called with what is done next and the share of the whole that is done, in [0, 1).

    Returns:
        The law, with a `Record` of what it saw.

    Raises:
        InputError: an unknown name, no curves, or fewer points than parameters.
    """
    from thalweg.laws import LAWS

    if law not in LAWS:
        raise InputError(f"law {law!r} is unknown; {suggest(law, LAWS)}")
    if draws < 0:
        raise InputError(f"draws is {draws}; give 0 or more bootstrap draws")
    found, say = as_curves(curves), progress or _silent
    say(f"the {law} law", 0.0)
    if method == "reference":
        from thalweg.laws.reference import fit_reference

        if law != "multi-power" or warmup == "paper":
            raise InputError("method 'reference' exists for law 'multi-power' with warmup 'code'; use method 'default'")
        fitted: Law = fit_reference(found)
    elif method in ("default", "plain"):
        own: Form = "code" if method == "default" and "code" in LAWS[law].FORMS else "paper"
        fitted = fit_points(LAWS[law], found, method=method, form=warmup or own, draws=draws, seed=seed, say=say)
    else:
        raise InputError(f"method {method!r} is unknown; {suggest(method, ('default', 'plain', 'reference'))}")
    record = fitted.record
    assert record is not None
    if not rivals:
        return fitted
    found_rivals = {}
    for name in (name for name in LAWS if name not in (law, "chinchilla-steps")):  # which sees no rates
        say(f"the {name} law, for comparison", 0.7)
        found_rivals[name] = _rival(LAWS[name], found, method)
    say("the backtest: the same law on the first 60 %", 0.85)
    return fitted.with_record(record.with_checks(found_rivals, _backtest(fitted, found)))


def _silent(what: str, share: float) -> None:
    """No progress is asked for."""


def _backtest(law: Law, curves: list[LossCurve]) -> float | None:
    """Largest relative error of the mean over a curve's last tenth, the law fitted to the first 60 % of every curve.

    None where too few points are left to fit.
    """
    early = [curve.steps < BACKTEST * curve.steps[-1] for curve in curves]
    if not all(mask.any() for mask in early):
        return None
    try:
        method: Method = "plain" if law.record is not None and law.record.method == "plain" else "default"
        seen_first = [curve.select(mask) for curve, mask in zip(curves, early, strict=True)]
        blind = fit_points(type(law), seen_first, method=method, form=law.warmup)
    except InputError:
        return None
    misses = []
    for curve in curves:
        end = curve.select(curve.steps >= 0.9 * curve.steps[-1])
        foretold = blind.predict(end.rates, at=end.steps, warmup_steps=end.warmup)
        misses.append(abs(float(foretold.mean() / end.losses.mean()) - 1))
    return max(misses)


def _rival(law: type[Law], curves: list[LossCurve], method: Method) -> Rival:
    fitted = fit_points(law, curves, method="default" if method == "reference" else method)
    assert fitted.record is not None
    return Rival(fitted.params, fitted.record.error)


def fit_points(
    law: type[Law],
    curves: list[LossCurve],
    *,
    method: Method = "default",
    form: Form = "paper",
    draws: int = 0,
    seed: int = 0,
    settings: Settings | None = None,
    say: Callable[[str, float], None] = _silent,
) -> Law:
    """`fit` without rivals, for a law's class and a list of curves."""
    if form not in law.FORMS:
        raise InputError(f"warmup is {form!r}; law {law.name!r} knows {' and '.join(law.FORMS)}")
    plain, chosen = method == "plain", settings or Settings()
    fixed = FIXABLE if plain else chosen.fixed
    coarse = gather(law, curves, form, FIT_ORDER, repeats=plain)
    starts = starting_points(coarse)
    if plain:
        weights, strength = np.ones(len(coarse.sums)), 0.0
        best = _best(coarse, starts, weights, strength, fixed)
    else:
        best, weights, strength = _settle(coarse, starts, chosen)
    fine = gather(law, curves, form, POLISH_ORDER, repeats=plain)
    problem = fine.problem(weights, strength, fixed=fixed)
    best = solve(problem, best.u, tolerance=1e-12)
    residuals = problem.residuals(best.u)
    length = correlation(residuals * np.sqrt(weights), fine.ends)
    say(f"{draws} bootstrap draws", 0.3)
    record = Record(
        method=method,
        seen=seen(fine.curves, fine.scale),
        noise=float(np.sqrt(np.average(np.minimum(np.abs(residuals), WILD) ** 2, weights=weights))),
        correlation=float(length.mean()),
        error=float(np.average(np.abs(residuals), weights=weights)),
        objective=best.value,
        draws=bootstrap(coarse, coarse.problem(weights, strength, fixed=fixed), best.u, length, draws=draws, seed=seed),
        identifiability=identify(fine, problem, best.u, length),
        notes=tuple(f"{curve.name}: {note}" for curve in curves for note in curve.notes),
    )
    return law(params=law.natural(best.u, fine.scale), warmup=form, record=record)


def starting_points(points: Points) -> list[np.ndarray]:
    """For each shape of the drop, the start whose exponent and linear part (L0, A, amplitude) fit best."""
    from scipy.optimize import nnls

    losses = np.exp(points.log_losses)
    starts = []
    for shape in points.law.shapes(points.scale):
        tried = []
        for alpha in ALPHAS:
            u = np.concatenate([[0.0, 0.0, np.log(alpha)], np.ones(len(points.law.FIXABLE)), shape])
            slopes = points.model(u, True)[1]
            assert slopes is not None
            columns = [0, 1, len(u) - len(shape)] if len(shape) else [0, 1]
            basis = slopes[:, columns] * np.where(np.arange(len(columns)) < 2, 1.0, -1.0)
            if len(shape):
                u[columns[2]] = 0.0
                basis[:, 2] /= np.exp(shape[0])
            solution, misfit = nnls(basis / losses[:, None], np.ones(len(losses)))
            u[0] = solution[0]
            u[1] = np.log(max(solution[1], 1e-4))
            if len(shape):
                u[columns[2]] = np.log(max(solution[2], 1e-3))
            tried.append((misfit, u))
        starts.append(min(tried, key=lambda pair: pair[0])[1])
    return starts


def _best(
    points: Points, starts: list[np.ndarray], weights: np.ndarray, strength: float, fixed: Collection[str]
) -> Solution:
    problem = points.problem(weights, strength, fixed=fixed)
    return min((solve(problem, start) for start in starts), key=lambda solution: solution.value)


def _settle(points: Points, starts: list[np.ndarray], settings: Settings) -> tuple[Solution, np.ndarray, float]:
    """The default procedure: fit, read noise, weights and prior strength off the residuals, fit again."""
    weights = (
        np.minimum(1.0, points.sums / (EARLY * points.scale.span)) if settings.transient else np.ones(len(points.sums))
    )
    strength, fixed = settings.first_strength, settings.fixed
    best = _best(points, starts, weights, strength, fixed)
    for _ in range(settings.rounds):
        raw = points.problem(weights, 0.0).residuals(best.u)
        if settings.transient:
            weights = noise_profile(raw, points.sums)
        scaled = np.sqrt(weights) * raw
        power = np.array([np.sum(np.minimum(np.abs(part), CLIP) ** 2) for part in np.split(scaled, points.ends[:-1])])
        variance = float(power @ correlation(scaled, points.ends)) / float(weights.sum())
        strength = settings.strength * variance
        best = solve(points.problem(weights, strength, fixed=fixed), best.u)
    return best, weights, strength
