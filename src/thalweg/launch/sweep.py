"""A sweep: which optimizers are tuned where, and the recipe of each run.

    recipe = "tiny.toml"                     # model, data, evaluation, seed; or a table [recipe]
    confirm = [1, 2]                         # further seeds of each cell's best, for the speed-ups
    [[regimes]]
    tokens = 204800                          # the same for every batch size
    [[regimes]]
    tokens = 819200
    model = {dim = 96}
    tune = "sensitive"                       # or "all" (default), "predicted"
    [optimizers.adamw]
    start = {lr = 4e-3, warmup = 0.1}        # over those of ``space = "published"``, if given
    grid = {lr = [1e-3, 2e-3, 4e-3, 8e-3]}

Source: arXiv 2509.02046, section on the protocol (phases I to III).
Differs: 1. ``confirm``: the paper has one seed a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from thalweg.errors import InputError, suggest
from thalweg.launch.descent import DELTA, SearchSpace
from thalweg.launch.search_spaces import SHAPES, published_space
from thalweg.nn.config import ModelConfig
from thalweg.nn.cost import count_parameters
from thalweg.toml import check_keys, from_document, read_toml
from thalweg.train.recipe import CheckpointRecipe, Recipe, load_recipe

__all__ = ["Contender", "Regime", "Sweep", "load_sweep", "recipe_of"]

PAIRS = {"beta1": ("betas", 0), "beta2": ("betas", 1), "adam_beta1": ("adam_betas", 0), "adam_beta2": ("adam_betas", 1)}
"""Hyperparameters that are one of a pair: (option, place)."""
OWN = ("lr", "warmup", "min_lr_ratio", "decay_fraction", "batch", "clip")
"""Hyperparameters of the recipe; all others are the optimizer's options."""


@dataclass(frozen=True, slots=True)
class Regime:
    """A size and a budget.

    Args:
        tokens: of training, the same for every batch size.
        model: changes to the recipe's model.
        tune: "all" hyperparameters, the "sensitive" ones (found in the regimes of "all"), or none, those "predicted"
            from the other regimes.
    """

    tokens: int
    model: dict[str, Any] = field(default_factory=dict)
    tune: Literal["all", "sensitive", "predicted"] = "all"


@dataclass(frozen=True, slots=True)
class Contender:
    """One optimizer with its search space.

    Args:
        name: of the optimizer; empty takes the key of its table.
        shape: of the schedule: cosine, linear or wsd (flat, then straight down over ``decay_fraction`` of the updates);
            empty takes wsd for Muon and Scion, cosine for others.
        space: "published" starts from the benchmark's space of this optimizer.
        start: hyperparameter -> first value. ``lr`` (peak), ``warmup`` (updates, or below 1 a share of them),
            ``min_lr_ratio``, ``batch`` (sequences), ``clip``, ``beta1`` …, and the optimizer's own options.
        grid: hyperparameter -> values; an empty list holds it.
    """

    name: str = ""
    shape: Literal["", "cosine", "linear", "wsd"] = ""
    space: Literal["", "published"] = ""
    start: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Regimes, contenders and rules.

    Args:
        recipe: the run that all others change.
        regimes: sizes and budgets.
        optimizers: label -> contender.
        baseline: the label whose curve speed-ups are measured against.
        delta: smallest improvement that counts, nats per token.
        tolerance: how far from a regime's best a configuration is near-best, nats per token.
        confirm: further seeds with which the best of each cell is trained.

    Raises:
        InputError: something is missing, repeated or out of range.
    """

    recipe: Recipe
    regimes: tuple[Regime, ...]
    optimizers: dict[str, Contender]
    baseline: str = "adamw"
    delta: float = DELTA
    tolerance: float = 6.4e-3
    confirm: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.regimes or not self.optimizers:
            raise InputError("a sweep needs one [[regimes]] and one [optimizers.NAME] or more")
        if self.baseline not in self.optimizers:
            raise InputError(f"baseline {self.baseline!r} is none of the optimizers: {', '.join(self.optimizers)}")
        if not (self.delta >= 0 and self.tolerance >= 0):
            raise InputError(f"delta = {self.delta} and tolerance = {self.tolerance} must be at least 0")
        if len({repr(regime) for regime in self.regimes}) < len(self.regimes):
            raise InputError("two [[regimes]] are the same: leave one out")
        if self.recipe.seed in self.confirm or len(set(self.confirm)) < len(self.confirm):
            raise InputError(f"confirm = {list(self.confirm)} must be seeds other than the recipe's {self.recipe.seed}")
        tuned = [regime.tune for regime in self.regimes]
        if "sensitive" in tuned and "all" not in tuned:
            raise InputError('tune = "sensitive" needs a regime with tune = "all", which shows what is sensitive')
        if "predicted" in tuned and len(tuned) - tuned.count("predicted") < 3:
            raise InputError('tune = "predicted" needs three regimes that are tuned, to predict from')
        for label in self.optimizers:
            for regime in self.regimes:
                start = dict(self.space(label).start)
                if not self.fits(regime, start):
                    raise InputError(
                        f"optimizers.{label}: warmup {start.get('warmup')} of {self.steps(regime, start)} updates for "
                        f"{regime.tokens} tokens: lower start.warmup or start.batch, or give more tokens"
                    )
                recipe_of(self, label, regime, start)

    def space(self, label: str) -> SearchSpace:
        """The search space of a contender."""
        contender = self.optimizers[label]
        start: dict[str, Any] = {"batch": self.recipe.batch, "clip": self.recipe.clip}
        grids: dict[str, Any] = {}
        if contender.space == "published":
            known = published_space(contender.name or label)
            start, grids = {**start, **known.start}, dict(known.grids)
        start |= contender.start
        grids = {name: grid for name, grid in {**grids, **contender.grid}.items() if len(grid)}
        if "lr" not in start:
            raise InputError(f"optimizers.{label} has no learning rate: give start.lr")
        return SearchSpace(start, grids)

    def steps(self, regime: Regime, values: dict[str, Any]) -> int:
        """Updates of a run: its tokens over those of a batch."""
        batch = values["batch"]
        return regime.tokens // (int(batch) * self.recipe.data.context) if batch >= 1 else 0

    def fits(self, regime: Regime, values: dict[str, Any]) -> bool:
        """Whether the run has an update, and a warmup shorter than itself."""
        steps, warmup = self.steps(regime, values), values.get("warmup", 0)
        return steps >= 1 and (0 <= warmup < 1 or warmup < steps)

    def parameters(self, regime: Regime) -> int:
        """Parameters without embeddings of a regime's model."""
        return count_parameters(self.model(regime)).non_embedding

    def model(self, regime: Regime) -> ModelConfig:
        """A regime's model."""
        return ModelConfig.from_dict({**self.recipe.model.to_dict(), **regime.model})


def recipe_of(sweep: Sweep, label: str, regime: Regime, values: dict[str, Any], *, seed: int | None = None) -> Recipe:
    """The run of one configuration.

    Raises:
        InputError: a hyperparameter that neither the recipe nor the optimizer has, or a value out of range.
    """
    from thalweg.optim.registry import defaults

    contender = sweep.optimizers[label]
    name = contender.name or label
    known = defaults(name)
    options: dict[str, Any] = {"name": name}
    for key, value in values.items():
        if key in PAIRS and PAIRS[key][0] in known:
            option, place = PAIRS[key]
            pair = list(options.get(option, known[option]))
            pair[place] = value
            options[option] = tuple(pair)
        elif key not in OWN:
            if key not in known:
                options_known = [*OWN, *known, *(pair for pair, (option, _) in PAIRS.items() if option in known)]
                raise InputError(f"optimizers.{label}: unknown hyperparameter {key!r}: {suggest(key, options_known)}")
            options[key] = value
    try:
        return sweep.recipe.replace(
            steps=sweep.steps(regime, values),
            schedule=_schedule(contender.shape or SHAPES.get(name, "cosine"), values),
            batch=int(values["batch"]),
            clip=float(values["clip"]),
            seed=sweep.recipe.seed if seed is None else seed,
            model=sweep.model(regime),
            optimizer=options,
            checkpoint=CheckpointRecipe(every=0),
        )
    except InputError as error:
        raise InputError(f"optimizers.{label}: {error}") from None


def _schedule(shape: str, values: dict[str, Any]) -> str:
    peak, warmup = float(values["lr"]), values.get("warmup", 0)
    floor = peak * values.get("min_lr_ratio", 0.0)
    head = f"peak={peak!r},warmup={warmup!r}"
    if shape != "wsd":
        return f"{shape}:{head},floor={floor!r}"
    decay = values.get("decay_fraction", 0.8)
    return f"wsd:{head},decay={decay!r},shape=linear,floor={floor!r}" if decay > 0 else f"constant:{head}"


def load_sweep(path: str | Path) -> Sweep:
    """Reads a sweep from a TOML file; ``recipe`` may be a table or the path, relative to it, of a recipe.

    Raises:
        InputError: no such file, not TOML, an unknown key, a value out of range.
    """
    document = read_toml(path, "sweep")
    try:
        recipe = document.pop("recipe", None)
        if isinstance(recipe, str):
            made = load_recipe(Path(path).parent / recipe)
        elif isinstance(recipe, dict):
            made = Recipe.from_dict({"steps": 1, "schedule": "constant:peak=1e-3,warmup=0", **recipe})
        else:
            raise InputError('recipe is missing: give recipe = "recipe.toml" or a table [recipe]')
        check_keys(Sweep, document)
        return from_document(Sweep, {**document, "recipe": made.to_dict()}, what="sweep")
    except InputError as error:
        raise InputError(f"sweep {path}: {error}") from None
