"""Does Adam lower another sharpness than SGD, and does it therefore find sparse truths from fewer samples?

Paper: Adam Reduces a Unique Form of Sharpness, arXiv 2511.02773. Claims tested: under label noise SGD's slow drift
lowers tr H and Adam's tr(Diag(H)^(1/2)) (spec claim 1); in sparse regression by a diagonal linear network, where these
are the l1 norm and the l1/2 quasi-norm of the solution, Adam recovers the truth from fewer samples (claim 4).

The rule, fixed before the runs that ``expected.json`` reports. Both arms solve the same problems from the same start at
the same learning rate, which is constant and then falls to 0; SGD has twice Adam's steps, since it is the slower of the
two. A problem is recovered if |w - w*|^2 < 0.1 at the end. A seed gives three margins, averages over the sample counts:

- recovery: share recovered by Adam - share recovered by SGD - 0.1;
- root: log of mean tr(Diag(H)^(1/2)), SGD's over Adam's, each where its rate begins to fall;
- trace: log of mean tr H, Adam's over SGD's, there too.

Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). The claim is reproduced if
all three exceed 0 so, not reproduced if one of them falls below 0 so, else inconclusive. The effect reported is the
difference of the shares. Sizes and steps were set by a trial of others; seeds 100 and 101 were looked at before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record, Verdict, decide_margins

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ARXIV",
    "CLAIM",
    "GPU",
    "LAPTOP",
    "SLUG",
    "SMOKE",
    "TITLE",
    "UNIT",
    "Config",
    "figure",
    "measures",
    "run",
    "verdict",
]

SLUG = "adam-sharpness"
TITLE = "What Adam flattens: sparse regression from fewer samples"
ARXIV = "2511.02773"
CLAIM = (
    "Under label noise SGD lowers tr H and Adam tr(Diag(H)^(1/2)), so that a diagonal network trained by Adam recovers "
    "sparse truths from fewer samples."
)
UNIT = "share of problems recovered"
LEAST = 0.1
RECOVERED = 0.1
CONSTANT = 0.6
"""Share of the steps at the constant rate."""


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        dim: d, entries of the truth.
        nonzero: entries of +-1 in it.
        samples: n, several.
        problems: at each n.
        adam_steps: of Adam; SGD takes twice as many.
        lr: of both.
        start: every parameter's first value.
        noise: delta, labels are +- it.
    """

    dim: int
    nonzero: int
    samples: tuple[int, ...]
    problems: int
    adam_steps: int
    lr: float = 4e-3
    start: float = 0.5
    noise: float = 1.0


SMOKE = Config(dim=20, nonzero=2, samples=(6, 8), problems=2, adam_steps=200)
LAPTOP = Config(dim=100, nonzero=4, samples=(14, 17, 20), problems=16, adam_steps=150_000)
GPU = Config(dim=10_000, nonzero=50, samples=(300, 600, 900, 1200), problems=2, adam_steps=150_000, lr=1e-3, start=0.1)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Both arms at every number of samples.

    Args:
        config: sizes.
        seed: of problems and noise.
        device: not used; the problems are small arrays.
        folder: not used.

    Yields:
        One record an arm and sample count: errors of every problem, sharpness where the rates begin to fall (``held``),
        at Adam's such step (``equal``) and at the end (``end``), means over problems.
    """
    from thalweg.dynamics import adam_e, sparse_regression_gradient
    from thalweg.tasks import DiagonalNetwork

    for samples in config.samples:
        rng = np.random.default_rng([seed, samples])
        problems = [
            DiagonalNetwork.draw(dim=config.dim, nonzero=config.nonzero, samples=samples, rng=rng)
            for _ in range(config.problems)
        ]
        gradient = sparse_regression_gradient(problems, noise=config.noise)
        start = np.full((config.problems, 2 * config.dim), config.start)
        for arm, exponent, betas, steps in (
            ("sgd", 0.0, (0.0, 0.0), 2 * config.adam_steps),
            ("adam", 0.5, (0.9, 0.999), config.adam_steps),
        ):
            at = {"equal": int(CONSTANT * config.adam_steps), "held": int(CONSTANT * steps)}
            keep = sorted(set(at.values()))
            rates = config.lr * np.minimum(1, (1 - np.arange(steps) / steps) / (1 - CONSTANT))
            points = adam_e(gradient, start, rates=rates, rng=rng, exponent=exponent, betas=betas, keep=keep)
            found = {name: points[keep.index(step)] for name, step in at.items()} | {"end": points[-1]}
            record: Record = {"arm": arm, "samples": samples, "steps": steps, "dim": config.dim}
            record["errors"] = [float(p.error(x)) for p, x in zip(problems, points[-1], strict=True)]
            for name, point in found.items():
                record[f"trace_{name}"] = float(problems[0].sharpness(point).mean())
                record[f"root_{name}"] = float(problems[0].sharpness(point, exponent=0.5).mean())
            yield record


def share(record: Record) -> float:
    """Share of a record's problems that were recovered; an error that is not a number is none."""
    return float(np.mean([error < RECOVERED for error in record["errors"]]))


def measures(records: Sequence[Record]) -> dict[str, float]:
    """The three margins of the rule, and the effect, of one seed's records."""
    arms = {arm: [record for record in records if record["arm"] == arm] for arm in ("adam", "sgd")}
    effect = float(np.mean([share(r) for r in arms["adam"]]) - np.mean([share(r) for r in arms["sgd"]]))

    def level(arm: str, key: str) -> float:
        return float(np.mean([np.log(record[key]) for record in arms[arm]]))

    return {
        "recovery": effect - LEAST,
        "root": level("sgd", "root_held") - level("adam", "root_held"),
        "trace": level("adam", "trace_held") - level("sgd", "trace_held"),
        "effect": effect,
    }


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    return decide_margins(records, measures)


def figure(records: Sequence[Record]) -> Figure:
    """Three panels over the number of samples: share recovered, tr(Diag(H)^(1/2)), tr H."""
    from thalweg.studies.adam_sharpness.picture import draw

    return draw(records)
