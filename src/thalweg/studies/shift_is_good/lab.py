"""The runs of the study: draws, regressions, transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from thalweg.laws import Memorization, PowerCurves, fit_learning_curve, optimal_mixture
from thalweg.studies.base import Record
from thalweg.tasks import RegressionMixture, SkillChains

if TYPE_CHECKING:
    from thalweg.studies.shift_is_good.study import Chains, Config

__all__ = ["records"]

NOISE, DIM = 0.5, 5
COMPONENTS = 20
"""Of memorisation, for each training example."""


def records(config: Config, *, seed: int, device: str) -> Iterator[Record]:
    """All records of one seed; see ``study``."""
    yield from _memory(config, np.random.default_rng([seed, 0]))
    yield from _regression(config, np.random.default_rng([seed, 1]))
    yield from _chains(config.chains, seed, device)


def _zipf(count: int, alpha: float) -> np.ndarray:
    weights = np.arange(1, count + 1) ** -alpha
    return weights / weights.sum()


def _memory(config: Config, rng: np.random.Generator) -> Iterator[Record]:
    """Test mass of the components that a data set lacks, for data from the test mixture and from the best one."""
    for alpha in config.alphas:
        for samples in config.samples:
            target = _zipf(COMPONENTS * samples, alpha)
            advice = optimal_mixture(target, Memorization(), samples)
            for mixture, shares, exact in (
                ("same", target, advice.loss_same),
                ("best", advice.shares, advice.loss),
            ):
                edges = np.cumsum(shares)
                seen = [
                    np.unique(np.searchsorted(edges / edges[-1], rng.random(samples), side="right"))
                    for _ in range(config.draws)
                ]
                missed = np.array([target.sum() - target[each].sum() for each in seen])
                yield {
                    "part": "memory",
                    "alpha": alpha,
                    "samples": samples,
                    "mixture": mixture,
                    "measured": float(missed.mean()),
                    "error": float(missed.std(ddof=1) / np.sqrt(len(missed))),
                    "exact": exact,
                }


def _regression(config: Config, rng: np.random.Generator) -> Iterator[Record]:
    """Curves from sweeps of each component by itself, the best mixture from them, and what it is worth."""
    count = config.components
    problem, target = RegressionMixture((NOISE,) * count, DIM), _zipf(count, 1.0)
    for samples in config.regression:
        sizes = np.unique(np.ceil(np.geomspace(0.016 * samples, 0.4 * samples, 8)).astype(int))
        fits = [
            fit_learning_curve(
                sizes, [problem.errors(k, np.full(config.sweep, n), rng).mean() for n in sizes], floor=False
            )
            for k in range(count)
        ]
        advice = optimal_mixture(target, PowerCurves([f.scale for f in fits], [f.exponent for f in fits]), samples)
        best, same = (
            problem.mixture_errors(target, shares, samples, replicas=config.replicas, rng=rng)
            for shares in (advice.shares, target)
        )
        relative = [each.std(ddof=1) / each.mean() / np.sqrt(config.replicas) for each in (best, same)]
        yield {
            "part": "regression",
            "samples": samples,
            "shares": advice.shares.tolist(),
            "exponents": [fit.exponent for fit in fits],
            "misfit": max(fit.misfit for fit in fits),
            "predicted": advice.loss_ratio,
            "sample_ratio": advice.sample_ratio,
            "measured": float(best.mean() / same.mean()),
            "error": float(best.mean() / same.mean() * np.hypot(*relative)),
            "best": float(best.mean()),
            "same": float(same.mean()),
        }


def _chains(config: Chains, seed: int, device: str) -> Iterator[Record]:
    """One run without drills and one with them; weights, skills and tests are shared."""
    from thalweg.train.on_task import fit_task, task_accuracy, task_model

    for drills in (0.0, config.drills):
        task = SkillChains(skills=config.skills, hops=config.hops, drills=drills, seed=seed)
        model = task_model(task, config.model, seed=seed, device=device)
        found: list[Record] = []

        def accuracy(test: SkillChains, model=model, **how) -> float:
            return task_accuracy(model, test, count=config.tests, seed=seed, precise=config.precise, **how)

        def measure(step: int, loss: float, task=task, drills=drills, found=found, accuracy=accuracy) -> None:
            chains = [(hops, replace(task, drills=0.0, hops=(hops, hops))) for hops in config.tested]
            found.append(
                {
                    "part": "chains",
                    "drills": drills,
                    "step": step,
                    "loss": loss,
                    "accuracy": float(np.mean([accuracy(test, free=True, start=hops + 2) for hops, test in chains])),
                    "uniform": float(
                        np.mean(
                            [accuracy(replace(test, alpha=0.0), free=True, start=hops + 2) for hops, test in chains]
                        )
                    ),
                    "single": accuracy(replace(task, drills=1.0, hops=(1, 1))),
                }
            )

        fit_task(
            model,
            task,
            steps=config.updates,
            schedule=config.schedule,
            batch=config.batch,
            seed=seed,
            optimizer={"name": "adamw", "weight_decay": 0.01},
            precise=config.precise,
            at=[config.updates * each // config.measured for each in range(1, config.measured + 1)],
            watch=measure,
        )
        yield from found
