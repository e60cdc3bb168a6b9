"""Are outliers how a network rescales through its norms, and does a gate behind the norm make them unnecessary?

Paper: arXiv 2601.22966 (A Unified View of Attention and Residual Sinks). Claim tested: outliers act through a norm that
follows them, to shrink everything else; a network whose norms are gated (GatedNorm) can shrink directly, so it has far
smaller outliers and fits at least as well.

The problem: h = x + ffn(norm(x)), out = W · norm(h), on targets whose length varies by e⁴ from input to input, so that
a plain norm must be fed something large to give out something small. All arms see the same target and examples. Each is
trained at every rate of ``Regression.rates``; ``largest`` is the largest |h| on held-out inputs and ``error`` the mean
squared error relative to the targets' mean square.

The rule, fixed before the runs that ``expected.json`` reports (explored on seed 100). The baseline is the
better of RMSNorm and RMSNorm with a feed-forward widened to the gated arm's parameters, number by number: the smaller
``largest`` and the smaller ``error`` of the two. Each seed gives two margins, positive for the claim, each the least
over the rates:

- outliers: log(largest of the baseline / largest of GatedNorm) - log 3;
- fit: log(1.1 · error of the baseline / error of GatedNorm).

Where language models are trained too (preset ``gpu``) there are two more, between the arms "rmsnorm" and "gated":

- language outliers: log(largest of rmsnorm / largest of gated) - log 2, largest |h| of any layer;
- language fit: 0.005 + loss of rmsnorm - loss of gated, nats per token held out.

Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). The claim is reproduced if
all exceed 0 so, not reproduced if one of them falls below 0 so, else inconclusive. The effect reported is the log of
the ratio of the largest |h|, the least over rates. Beside it, without a part in the verdict: PreAffine, one gate for
all numbers, DyT and gated DyT.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.nn import ModelConfig
from thalweg.nn.options import NormGateConfig
from thalweg.studies.base import Record, Verdict, decide_margins
from thalweg.train.recipe import DataRecipe

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
    "Language",
    "LanguageArm",
    "Regression",
    "figure",
    "margins",
    "run",
    "verdict",
]

SLUG = "outlier-rescaling"
TITLE = "Outliers rescale through the norm; a gate makes them unnecessary"
ARXIV = "2601.22966"
CLAIM = "With gates behind its norms a network has far smaller outliers and fits at least as well."
UNIT = "log of the largest |h|, RMSNorm over GatedNorm"
BASELINES, GATED = ("rmsnorm", "rmsnorm, wider"), "gated"
SMALLER, WORSE, LANGUAGE_SMALLER, LANGUAGE_WORSE = 3.0, 1.1, 2.0, 0.005


@dataclass(frozen=True, slots=True)
class Arm:
    """A network of the regression.

    Args:
        name: of the arm.
        norm: name in ``NORMS``.
        gate: options of the gate behind the norm.
        wider: units added to the feed-forward.
    """

    name: str
    norm: str
    gate: NormGateConfig = field(default_factory=NormGateConfig)
    wider: int = 0


@dataclass(frozen=True, slots=True)
class Regression:
    """The regression.

    Args:
        arms: the networks.
        rates: peak learning rates of AdamW, linear to 0, no weight decay.
        steps: updates.
        dim: width of input, residual stream and output.
        hidden: width of the feed-forward.
        batch: new examples an update.
        held: held-out examples.
    """

    arms: tuple[Arm, ...]
    rates: tuple[float, ...] = (3e-3, 1e-2)
    steps: int = 3000
    dim: int = 64
    hidden: int = 256
    batch: int = 256
    held: int = 4096


@dataclass(frozen=True, slots=True)
class LanguageArm:
    """A language model.

    Args:
        name: of the arm.
        norm: name in ``NORMS``.
        gated_attention: a gate behind the attention of each head, too.
        rate: peak learning rate.
    """

    name: str
    norm: str
    gated_attention: bool = False
    rate: float = 4e-3


@dataclass(frozen=True, slots=True)
class Language:
    """The language models.

    Args:
        model: shape of all.
        data: their text.
        arms: which.
        steps: updates.
        batch: sequences an update.
        warmup: updates.
        windows: held-out sequences.
        evaluate: updates between evaluations.
        precision: of the training.
    """

    model: ModelConfig
    data: DataRecipe
    arms: tuple[LanguageArm, ...]
    steps: int
    batch: int
    warmup: int
    windows: int = 256
    evaluate: int = 500
    precision: str = "fp32"


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        regression: the problem of the laptop.
        language: language models beside it; None trains none.
        threads: torch threads on a CPU.
    """

    regression: Regression
    language: Language | None = field(default=None)
    threads: int = 1


ARMS = (
    Arm("rmsnorm", "rmsnorm"),
    Arm("rmsnorm, wider", "rmsnorm", wider=32),
    Arm("preaffine", "preaffine"),
    Arm(GATED, "gated"),
    Arm("gated, one number", "gated", NormGateConfig(shape="tensorwise")),
    Arm("dyt", "dyt"),
    Arm("gated dyt", "gated_dyt"),
)
SMOKE = Config(
    Regression(ARMS, rates=(3e-3,), steps=20, dim=8, hidden=16, batch=16, held=64),
    Language(
        model=ModelConfig(dim=16, layers=2, heads=2, context=16),
        data=DataRecipe(context=16),
        arms=(
            LanguageArm("rmsnorm", "rmsnorm"),
            LanguageArm("gated", "gated"),
            LanguageArm("gated + gated attention", "gated", True),
            LanguageArm("dyt", "dyt", rate=1e-3),
        ),
        steps=6,
        batch=4,
        warmup=2,
        windows=8,
    ),
)
LAPTOP = Config(Regression(ARMS))
GPU = Config(
    Regression(ARMS),
    Language(
        model=ModelConfig(vocab_size=8192, dim=768, layers=12, heads=12, kv_heads=4, context=512),
        data=DataRecipe(tokenizer="bpe:8192", context=512),
        arms=(
            *(LanguageArm(norm, norm) for norm in ("rmsnorm", "preaffine", "gated")),
            *(LanguageArm(f"{norm} + gated attention", norm, True) for norm in ("rmsnorm", "preaffine", "gated")),
            *(LanguageArm(f"dyt at {rate:g}", "dyt", rate=rate) for rate in (4e-3, 1e-3, 5e-4)),
            LanguageArm("gated dyt at 1e-3", "gated_dyt", rate=1e-3),
        ),
        steps=9200,
        batch=64,
        warmup=500,
        windows=512,
        evaluate=1000,
        precision="bf16",
    ),
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """The regression, then the language models.

    Args:
        config: sizes and rates.
        seed: of targets, weights and examples.
        device: where networks train.
        folder: keeps runs and tokens of the language models.

    Yields:
        ``part`` "regression": ``arm``, ``rate``, ``error``, ``largest``, ``score``, ``parameters``, ``curve`` (step,
        error, largest, score); ``part`` "language": ``arm``, ``rate``, ``loss``, ``largest``, ``later``, ``score``,
        ``share``, ``weight_at_sink``, ``gap``, ``smooth_gap``, None where the run diverged.
    """
    import torch

    from thalweg.studies.outlier_rescaling.language import language_records
    from thalweg.studies.outlier_rescaling.regression import regression_records

    if device == "cpu":
        torch.set_num_threads(config.threads)
    yield from regression_records(config.regression, seed, device)
    if config.language is not None:
        yield from language_records(config.language, seed, device, folder)


def margins(records: Sequence[Record]) -> dict[str, float]:
    """The margins of the rule, and the effect, of one seed's records."""
    regression = {(r["arm"], r["rate"]): r for r in records if r["part"] == "regression"}
    outliers, fits = [], []
    for rate in sorted({rate for _, rate in regression}):
        gated = regression[GATED, rate]
        largest, error = (min(regression[name, rate][key] for name in BASELINES) for key in ("largest", "error"))
        outliers.append(math.log(largest / gated["largest"]))
        fits.append(math.log(WORSE * error / gated["error"]))
    found = {"effect": min(outliers), "outliers": min(outliers) - math.log(SMALLER), "fit": min(fits)}
    language = {r["arm"]: r for r in records if r["part"] == "language"}
    if language:
        plain, gated = language[BASELINES[0]], language[GATED]
        if gated["loss"] is None:
            return found | {"language outliers": -math.inf, "language fit": -math.inf}
        if plain["loss"] is None:
            return found | {"language outliers": math.inf, "language fit": math.inf}
        found["language outliers"] = math.log(plain["largest"] / gated["largest"]) - math.log(LANGUAGE_SMALLER)
        found["language fit"] = LANGUAGE_WORSE + plain["loss"] - gated["loss"]
    return found


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    return decide_margins(records, margins)


def figure(records: Sequence[Record]) -> Figure:
    """Error against the largest |h|, its growth in training, and the language models where there are any."""
    from thalweg.studies.outlier_rescaling.picture import draw

    return draw(records)
