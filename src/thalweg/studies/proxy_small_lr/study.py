"""Do small runs at small learning rates rank data recipes like a larger, tuned model?

Paper: Can Small Training Runs Reliably Guide Data Curation?, arXiv 2512.24503.

1. Claims tested: with the target tuned for each recipe, a small proxy at a small learning rate ranks recipes like it;
   at a large rate it does not; at too small a rate, where little is learned, it does not, either.
2. Parts of a seed: several sets of 16 recipes for random-feature regression, which differ in wrong labels and in noise;
   eight recipes of real text, ranked by a tiny byte-level transformer at constant rates and by a larger one whose rate
   is tuned for each.
3. The rule, fixed before the runs that ``expected.json`` reports. Margins of a seed, means over its random-feature
   sets, where ρ is Spearman's correlation with the tuned target and "small" the middle one of the proxy rates:

   - small: ρ at the small rate, less 0.9;
   - large: ρ at the small rate, less ρ at the largest, less 0.3;
   - tiny: ρ at the small rate, less ρ at the smallest, less 0.3;
   - regret: 0.03, less the regret of the first choice at the small rate;
   - plateau: ρ at the rate that ``RankTable.plateau`` picks without the target, less 0.85.

   Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). Reproduced if all exceed
   0 so, not reproduced if one falls below 0 so, else inconclusive. The effect reported is ρ at the small rate less ρ at
   the largest. Rates, sizes and thresholds were set by trials with seeds 100 to 105. The text is shown and has no part
   in the verdict: eight recipes give a correlation an interval as wide as the differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.proxies import RankTable
from thalweg.nn import ModelConfig
from thalweg.stats import regret, spearman
from thalweg.studies.base import Record, Verdict, decide, decide_all
from thalweg.tasks import BiasedRecipes

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
    "TextConfig",
    "correlations",
    "figure",
    "margins",
    "run",
    "text_table",
    "verdict",
]

SLUG = "proxy-small-lr"
TITLE = "Small runs at small learning rates rank data recipes"
ARXIV = "2512.24503"
CLAIM = (
    "A small proxy at a small learning rate ranks data recipes like a larger model tuned for each; at a large one not."
)
UNIT = "Spearman's correlation with the tuned target, small rate less largest rate"


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The language models.

    Args:
        proxy: its context is that of training and validation.
        target: of the same context.
        rates: constant rates of the proxy, rising.
        target_rates: peaks of the target's cosine, rising.
        steps: of a proxy.
        target_steps: of a target.
        batch: windows a step.
        warmup: steps, at most a quarter of a run.
        weight_decay: of AdamW.
        validation: windows of the plays.
    """

    proxy: ModelConfig
    target: ModelConfig
    rates: tuple[float, ...]
    target_rates: tuple[float, ...]
    steps: int
    target_steps: int
    batch: int = 8
    warmup: int = 20
    weight_decay: float = 0.1
    validation: int = 256


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        text: the language models.
        sets: sets of recipes.
        recipes: in a set.
        rates: of proxies, rising; the middle one is the small rate.
        target_rates: of targets, rising.
        width: features of a proxy.
        steps: of a proxy, 8 examples each.
        students: proxies of each recipe and rate.
        target_width: features of a target.
        target_steps: of a target.
    """

    text: TextConfig
    sets: int = 6
    recipes: int = 16
    rates: tuple[float, ...] = (0.001, 0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0)
    target_rates: tuple[float, ...] = (0.0075, 0.015, 0.03, 0.06, 0.12, 0.24, 0.48)
    width: int = 48
    steps: int = 1500
    students: int = 3
    target_width: int = 400
    target_steps: int = 6000


def _byte_model(dim: int, layers: int, context: int = 32) -> ModelConfig:
    return ModelConfig(dim=dim, layers=layers, heads=max(1, dim // 16), context=context)


SMOKE = Config(
    text=TextConfig(_byte_model(16, 1, 16), _byte_model(16, 1, 16), (1e-3, 1e-2), (1e-2,), 8, 8, validation=32),
    sets=2,
    recipes=8,
    rates=(0.002, 0.03, 2.0),
    target_rates=(0.03, 0.12),
    steps=60,
    students=1,
    target_width=60,
    target_steps=150,
)
LAPTOP = Config(
    text=TextConfig(
        _byte_model(16, 1),
        _byte_model(32, 2),
        rates=(1e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        target_rates=(2e-3, 5e-3, 1.2e-2),
        steps=150,
        target_steps=300,
    )
)
GPU = Config(
    text=TextConfig(
        _byte_model(160, 6, 256),
        _byte_model(448, 8, 256),
        rates=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        target_rates=(3e-4, 6e-4, 1.2e-3),
        steps=500,
        target_steps=1000,
        batch=32,
        warmup=50,
        validation=1024,
    ),
    sets=24,
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Yields losses of proxies and targets: one record a random-feature set, one a run of a language model.

    Args:
        config: sizes.
        seed: of recipes, examples and initial weights.
        device: of the transformers.
        folder: not used.
    """
    from thalweg.studies.proxy_small_lr.text import text_records

    for each in range(config.sets):
        problem = BiasedRecipes.drawn(config.recipes, seed=1000 * seed + each)
        proxies = problem.train(config.rates, width=config.width, steps=config.steps, seeds=config.students)
        targets = problem.train(
            config.target_rates, width=config.target_width, steps=config.target_steps, seed=config.students
        )
        yield {
            "part": "features",
            "set": each,
            "bias": list(problem.bias),
            "noise": list(problem.noise),
            "rates": list(config.rates),
            "start": problem.start(),
            "proxies": proxies.tolist(),
            "targets": targets[..., 0].tolist(),
        }
    yield from text_records(config.text, seed=seed, device=device)


def _table(record: Record) -> RankTable:
    names = tuple(f"recipe {k}" for k in range(len(record["bias"])))
    return RankTable(names, tuple(record["rates"]), np.array(record["proxies"]), record["start"])


def _best(record: Record) -> np.ndarray:
    return np.array(record["targets"]).min(axis=1)


def correlations(record: Record) -> np.ndarray:
    """ρ of each proxy rate with the tuned target, in one random-feature set."""
    best = _best(record)
    return np.array([spearman(column, best) for column in _table(record).means.T])


def text_table(records: Sequence[Record]) -> tuple[RankTable, np.ndarray]:
    """The proxies' table of one seed's text recipes, and the tuned targets' losses."""
    from thalweg.studies.proxy_small_lr.text import RECIPES

    rows = [r for r in records if r["part"] == "text"]
    rates = sorted({r["rate"] for r in rows if r["role"] == "proxy"})
    losses = {(r["recipe"], r["rate"]): r["loss"] for r in rows if r["role"] == "proxy"}
    start = next(r["loss"] for r in rows if r["role"] == "proxy start")
    table = np.array([[losses[name, rate] for rate in rates] for name in RECIPES])
    best = [min(r["loss"] for r in rows if r["role"] == "target" and r["recipe"] == name) for name in RECIPES]
    return RankTable(tuple(RECIPES), tuple(rates), table, start), np.array(best)


def margins(records: Sequence[Record]) -> dict[str, float]:
    """The margins of the rule for one seed's records."""
    sets = [record for record in records if record["part"] == "features"]
    rho = np.array([correlations(record) for record in sets])
    middle = rho.shape[1] // 2
    regrets = [regret(_table(record).means[:, middle], _best(record)) for record in sets]
    small = rho[:, middle].mean()
    return {
        "small": float(small - 0.9),
        "large": float(small - rho[:, -1].mean() - 0.3),
        "tiny": float(small - rho[:, 0].mean() - 0.3),
        "regret": float(0.03 - np.mean(regrets)),
        "plateau": float(np.mean([_picked(record) for record in sets]) - 0.85),
    }


def _picked(record: Record) -> float:
    """ρ at the rate that the plateau picks; 0, no better than chance, where it finds none."""
    table = _table(record)
    try:
        at = table.rates.index(table.plateau())
    except InputError:
        return 0.0
    return float(correlations(record)[at])


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    seeds = sorted({record["seed"] for record in records})
    found = [margins([record for record in records if record["seed"] == seed]) for seed in seeds]
    tests = {name: decide([each[name] for each in found], threshold=0.0) for name in found[0]}
    return decide_all(tests.values(), effect=decide([each["large"] + 0.3 for each in found], threshold=0.3))


def figure(records: Sequence[Record]) -> Figure:
    """Four panels: correlation and loss of the random-feature proxies, of the text proxies, and the text losses."""
    from thalweg.studies.proxy_small_lr.picture import draw

    return draw(records)
