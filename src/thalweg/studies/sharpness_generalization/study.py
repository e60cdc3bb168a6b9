"""Do the flattest networks generalise, and does 1-SAM, which finds flat ones, find those that do?

Paper: Sharpness Minimization Algorithms Do Not Only Minimize Sharpness To Achieve Better Generalization,
arXiv 2307.11007. Claims tested, for two-layer ReLU networks that learn x[0] x[1] on the hypercube: without biases they
do (spec claim 1); with biases they need not, and 1-SAM finds one that does not (claim 3); under simplified layer norm
they need not, and 1-SAM still finds one that does (claim 5).

The rule, fixed before the runs that ``expected.json`` reports. Accuracy is the share of points outside the training set
with the right sign, half for an output of 0; Tr is (2 / n) sum |grad f|^2; both are means over the last tenth of the
looks. Every seed gives seven margins, larger for the claim:

- plain: accuracy of 1-SAM without biases - 0.95;
- gap: accuracy of gradient descent with weight decay - accuracy of 1-SAM - 0.15, with biases;
- flat: 0.05 - abs(Tr of 1-SAM with biases / (4 sqrt(d + 1)) - 1), 4 sqrt(d + 1) being the least of interpolators;
- layernorm: accuracy of 1-SAM under layer norm - 0.95;
- layernorm flat: 0.05 - abs(its Tr / 2 - 1), 2 being the least;
- least: 1e-6 - the largest of |f - y| on the training set and of the relative distance of Tr to the least, over the
  networks that remember and that know the rule, with biases and under layer norm;
- memory: 0.55 - the larger accuracy of the two networks that remember.

Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). The claim is reproduced if
all exceed 0 so, not reproduced if one of them falls below 0 so, else inconclusive. The effect reported is the gap
without the 0.15. The demands on gap, flatness and accuracy are those of a check of others at n = 70 and width 100;
size, rates, radii and lengths were set on seeds 100 and 101, which are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

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
    "Arm",
    "Config",
    "figure",
    "measures",
    "run",
    "verdict",
]

SLUG = "sharpness-generalization"
TITLE = "When flat networks generalise, and when only SAM's do"
ARXIV = "2307.11007"
CLAIM = (
    "The flattest two-layer networks generalise without biases; with biases they need not and 1-SAM's do not; under "
    "layer norm they need not and 1-SAM's do."
)
UNIT = "test accuracy, gradient descent with decay minus 1-SAM, with biases"
RIGHT, GAP, NEAR, EXACT, CHANCE = 0.95, 0.15, 0.05, 1e-6, 0.55


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train one architecture.

    Args:
        name: of the arm.
        kind: of ``tasks.TwoLayer``.
        rule: "example" for 1-SAM and SGD, "batch" for full-batch SAM and gradient descent.
        phases: (lr, rho, steps), one after the other.
        weight_decay: of "batch".
        norm: length that the first layer is kept at.
    """

    name: str
    kind: Literal["plain", "bias", "layernorm"]
    rule: Literal["example", "batch"]
    phases: tuple[tuple[float, float, int], ...]
    weight_decay: float = 0.0
    norm: float | None = None


def arms(descent: int, plain: int, bias: int, batch: int, norm: int) -> tuple[Arm, ...]:
    """The arms by their steps: rates, radii, decay and norm are the paper's (Table 2) where it has the arm."""
    radii = ((0.01, 0.1, norm), (0.01, 0.5, norm), (0.01, 1.0, norm))
    return (
        Arm("plain-gd", "plain", "batch", ((0.01, 0.0, descent),), weight_decay=0.05),
        Arm("plain-sam", "plain", "example", ((0.01, 0.05, plain),)),
        Arm("bias-gd", "bias", "batch", ((0.01, 0.0, descent),), weight_decay=0.05),
        Arm("bias-sam", "bias", "example", ((0.01, 0.05, bias), (0.01, 0.1, 2 * bias))),
        Arm("bias-batch", "bias", "batch", ((0.01, 0.1, batch),)),
        Arm("layernorm-sgd", "layernorm", "example", ((0.01, 0.0, 3 * norm),), norm=10.0),
        Arm("layernorm-sam", "layernorm", "example", radii, norm=10.0),
    )


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        dim: d.
        samples: n.
        width: hidden neurons.
        test: points outside the training set.
        looks: at each arm, over its steps.
        arms: what is trained.
    """

    dim: int
    samples: int
    width: int
    test: int
    looks: int
    arms: tuple[Arm, ...]


SMOKE = Config(10, 20, 16, test=100, looks=5, arms=arms(50, 100, 50, 50, 40))
LAPTOP = Config(30, 100, 500, test=2000, looks=60, arms=arms(20_000, 150_000, 50_000, 10_000, 50_000))
GPU = Config(30, 100, 500, test=10_000, looks=200, arms=arms(100_000, 2_000_000, 1_000_000, 100_000, 50_000))


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """The networks that are known, then every arm on the same training set from its own start.

    Args:
        config: sizes and arms.
        seed: of data, starts and the order of examples.
        device: not used; the steps are closed forms in NumPy.
        folder: not used.

    Yields:
        Records with ``part`` "known" or "arm"; see the card for each metric.
    """
    from thalweg.studies.sharpness_generalization.lab import arm_record, draw, known_records

    data = draw(config, seed)
    yield from known_records(data)
    for arm in config.arms:
        yield arm_record(arm, config, data, seed)


def last(record: Record, key: str) -> float:
    """Mean over the last tenth of the looks, at least one."""
    values = record[key]
    tail = values[-max(1, len(values) // 10) :]
    return sum(tail) / len(tail)


def measures(records: Sequence[Record]) -> dict[str, float]:
    """The seven margins of the rule, and the effect, of one seed's records."""
    trained = {record["arm"]: record for record in records if record["part"] == "arm"}
    known = [record for record in records if record["part"] == "known"]
    right = {name: last(record, "accuracy") for name, record in trained.items()}
    gap = right["bias-gd"] - right["bias-sam"]

    def flat(name: str) -> float:
        return NEAR - abs(last(trained[name], "trace") / trained[name]["least"] - 1)

    return {
        "plain": right["plain-sam"] - RIGHT,
        "gap": gap - GAP,
        "flat": flat("bias-sam"),
        "layernorm": right["layernorm-sam"] - RIGHT,
        "layernorm flat": flat("layernorm-sam"),
        "least": EXACT - max(max(r["residual"], abs(r["trace"] / r["least"] - 1)) for r in known),
        "memory": CHANCE - max(r["accuracy"] for r in known if r["network"] == "memorizing"),
        "effect": gap,
    }


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    return decide_margins(records, measures)


def figure(records: Sequence[Record]) -> Figure:
    """Six panels: accuracy over steps and accuracy against the trace, for each architecture."""
    from thalweg.studies.sharpness_generalization.picture import draw

    return draw(records)
