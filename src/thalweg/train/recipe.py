"""A recipe: everything that defines a training run, as a frozen dataclass that round-trips through TOML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.nn.config import ModelConfig
from thalweg.schedules import parse
from thalweg.toml import check_keys, from_document, plain, read_toml, write_toml
from thalweg.train.depth import DepthSchedule, Stacking, make_depth
from thalweg.train.recipe_parts import CheckpointRecipe, DataRecipe, EvaluationRecipe, at_least

if TYPE_CHECKING:
    from thalweg.train.local_recipe import Local

__all__ = ["CheckpointRecipe", "DataRecipe", "EvaluationRecipe", "Recipe", "load_recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A training run.

    Args:
        steps: optimizer updates, >= 1.
        schedule: the learning rate as a spec string, e.g. "wsd:peak=3e-4,warmup=100,decay=0.2".
        batch: sequences per update, over all devices and micro-batches.
        accumulate: micro-batches per update; divides ``batch``.
        micro_batches: in place of ``accumulate``, equal parts of the batch over all processes, a power of two: losses
            are then bit for bit the same in any number of processes that divides it (CPU, as many threads in each).
        seed: of initialisation and data order.
        clip: largest gradient norm; 0 does not clip.
        precision: "fp32", or "bf16" (autocast; weights and optimizer state stay fp32).
        ema: decay of an online average of the weights, in [0, 1); 0 keeps none. It is evaluated beside the weights.
        model: architecture; ``vocab_size`` must cover the tokenizer.
        data: what the model reads.
        optimizer: ``name`` and the options of that optimizer (see ``thalweg.optim``); ``decay_embeddings = false``
            takes weight decay off the embeddings; ``sam``, a table of ``SAM``'s arguments, puts that around it.
        depth: which blocks run at each step: ``name`` and the options of a schedule of ``thalweg.train.depth``; empty
            runs all.
        local: local updates in place of an average a step: ``workers`` (processes, which share ``batch``), ``name`` and
            the options of a rule for H (see ``thalweg.train.local_recipe``); empty averages every step.
        evaluation: when the validation loss is measured.
        checkpoint: when the state is saved.

    Raises:
        InputError: a value out of range, a schedule that does not parse or fit, an unknown optimizer option.
    """

    steps: int
    schedule: str
    batch: int = 32
    accumulate: int = 1
    micro_batches: int = 0
    seed: int = 0
    clip: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    ema: float = 0.0
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataRecipe = field(default_factory=DataRecipe)
    optimizer: dict[str, Any] = field(default_factory=lambda: {"name": "adamw"})
    depth: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] = field(default_factory=dict)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    checkpoint: CheckpointRecipe = field(default_factory=CheckpointRecipe)

    def __post_init__(self) -> None:
        for name, low in [("steps", 1), ("batch", 1), ("accumulate", 1), ("seed", 0)]:
            at_least(name, getattr(self, name), low)
        if self.batch % self.accumulate:
            raise InputError(f"accumulate = {self.accumulate} does not divide batch = {self.batch}: choose a divisor")
        self._check_micro_batches()
        if not 0 <= self.clip < float("inf"):
            raise InputError(f"clip = {self.clip} must be a finite number >= 0; 0 does not clip")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema = {self.ema} must lie in [0, 1); 0 keeps no average")
        if self.precision not in ("fp32", "bf16"):
            raise InputError(
                f"precision = {self.precision!r} is not known: {suggest(str(self.precision), ['fp32', 'bf16'])}"
            )
        if any(step > self.steps for step in self.checkpoint.at):
            raise InputError(f"checkpoint.at = {list(self.checkpoint.at)} names a step beyond steps = {self.steps}")
        if self.data.context > self.model.context:
            raise InputError(
                f"data.context = {self.data.context} is longer than model.context = {self.model.context}: "
                "shorten one or lengthen the other"
            )
        self.rates()
        self._check_optimizer()
        self.depth_schedule()
        self.local_updates()

    def _check_micro_batches(self) -> None:
        count = self.micro_batches
        at_least("micro_batches", count, 0)
        if not count:
            return
        if count & (count - 1) or self.batch % count:
            raise InputError(
                f"micro_batches = {count} must be a power of two that divides batch = {self.batch}, or 0: choose one"
            )
        if self.accumulate > 1:
            raise InputError(f"micro_batches = {count} takes the place of accumulate = {self.accumulate}: leave it out")
        if "moe" in self.model.ffns:
            raise InputError(
                "model.ffn = 'moe' balances its experts over what one process sees, so micro_batches cannot make "
                "processes agree bit for bit: set accumulate"
            )
        sam = self.optimizer.get("sam")
        if isinstance(sam, dict) and sam.get("per_part"):
            raise InputError("optimizer.sam.per_part = true climbs from each part of one process: set accumulate")

    @property
    def parts(self) -> int:
        """Micro-batches of an update in one process."""
        return self.micro_batches or self.accumulate

    def _check_optimizer(self) -> None:
        from thalweg.optim import check_options

        options = {key: _tuples(value) for key, value in self.optimizer.items()}
        object.__setattr__(self, "optimizer", dict(options))
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise InputError(f'optimizer.name = {name!r} must be a word, for example "adamw"')
        check_options(name, options)

    def depth_schedule(self) -> DepthSchedule | None:
        """The schedule of the blocks; None where all run."""
        if not self.depth:
            return None
        schedule = make_depth(self.depth, layers=self.model.layers, steps=self.steps, seed=self.seed)
        if isinstance(schedule, Stacking):
            self._check_copies(schedule)
        return schedule

    def local_updates(self) -> Local | None:
        """Workers and their rule; None where gradients are averaged every step."""
        if not self.local:
            return None
        from thalweg.train.local_recipe import make_local

        made = make_local(self.local, warmup=parse(self.schedule).warmup_steps(self.steps))
        if self.batch % (made.workers * self.accumulate):
            raise InputError(
                f"batch = {self.batch} in accumulate = {self.accumulate} parts cannot be shared by local.workers = "
                f"{made.workers}: make it a multiple of {made.workers * self.accumulate}"
            )
        if self.micro_batches:
            raise InputError("micro_batches makes processes agree every step, which those of [local] do not: drop one")
        if "moe" in self.model.ffns:
            raise InputError("model.ffn = 'moe' counts beside its weights, which workers do not average: drop [local]")
        return made

    def _check_copies(self, schedule: Stacking) -> None:
        parts = [f"{mixer} and {ffn}" for mixer, ffn in zip(self.model.mixers, self.model.ffns, strict=True)]
        for source, target in schedule.all_copies:
            if parts[source] != parts[target]:
                copied = f"copies block {source} ({parts[source]}) to block {target} ({parts[target]})"
                raise InputError(
                    f"depth.lengths = {list(schedule.lengths)} {copied}: grow by whole repetitions of the pattern"
                )

    def rates(self) -> np.ndarray:
        """The learning rate of each update, float64 of shape (steps,)."""
        return parse(self.schedule).rates(self.steps)

    @property
    def tokens_per_step(self) -> int:
        """Tokens read by one update."""
        return self.batch * self.data.context

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some fields changed, checked anew."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, as TOML holds them."""
        document = plain(self)
        if not self.data.plan:
            del document["data"]["plan"]  # recipes of runs from before there were plans stay equal
        for name in ("micro_batches", "local"):
            if not document[name]:
                del document[name]
        return document

    def to_toml(self) -> str:
        """The recipe as TOML text; ``load_recipe`` reads it back equal."""
        return write_toml(self.to_dict())

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Recipe:
        """Builds and checks a recipe.

        Raises:
            InputError: an unknown key (the nearest is named), a wrong type, a value out of range.
        """
        document = dict(document)
        check_keys(cls, document, more={ModelConfig: {"size"}})
        if isinstance(document.get("model"), dict):
            try:
                document["model"] = ModelConfig.from_dict(document["model"]).to_dict()
            except InputError as error:
                raise InputError(f"model: {error}") from None
        return from_document(cls, document, what="recipe")


def load_recipe(path: str | Path) -> Recipe:
    """Reads a recipe from a TOML file.

    Raises:
        InputError: no such file, not TOML, or see ``Recipe.from_dict``.
    """
    document = read_toml(path, "recipe")
    try:
        return Recipe.from_dict(document)
    except InputError as error:
        raise InputError(f"recipe {path}: {error}") from None


def _tuples(value: Any) -> Any:
    """Lists, which TOML has, as the tuples that optimizers take."""
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
