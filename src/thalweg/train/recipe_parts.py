"""The tables of a recipe: what is read, when the validation loss is measured, when the state is saved."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.errors import InputError

__all__ = ["CheckpointRecipe", "DataRecipe", "EvaluationRecipe", "at_least"]


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """What the model reads.

    Args:
        corpus: "stdlib" (the embedded text) or the path of a text file or folder. With a plan only the validation
            losses are measured on it; it may then be a prepared folder or shard too, all of which is used.
        tokenizer: "byte", "bpe:SIZE" (trained on the corpus; extra ``data``) or the path of a tokenizer.json.
        context: tokens a sequence, >= 2.
        plan: path of a data plan (TOML) that says what is read in which order, whatever the recipe's seed; empty reads
            the corpus in shuffled order.
    """

    corpus: str = "stdlib"
    tokenizer: str = "byte"
    context: int = 128
    plan: str = ""

    def __post_init__(self) -> None:
        at_least("data.context", self.context, 2)


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """When and on what the validation loss is measured.

    Args:
        every: steps between evaluations (the last step is always evaluated); 0 measures at the end only.
        windows: sequences of ``context`` tokens, spread evenly over the validation split, the same for all runs.
        batch: sequences in one forward pass; changes memory and the last digits, not the measure.
    """

    every: int = 100
    windows: int = 128
    batch: int = 64

    def __post_init__(self) -> None:
        at_least("evaluation.every", self.every, 0)
        at_least("evaluation.windows", self.windows, 1)
        at_least("evaluation.batch", self.batch, 1)


@dataclass(frozen=True, slots=True)
class CheckpointRecipe:
    """When the training state is saved (always at the end).

    Args:
        every: steps between checkpoints; 0 saves at the end only.
        keep: how many of those periodic checkpoints stay on disk, >= 1; 0 keeps all.
        at: numbers of finished steps at which a checkpoint is made and never deleted.
    """

    every: int = 500
    keep: int = 1
    at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        at_least("checkpoint.every", self.every, 0)
        at_least("checkpoint.keep", self.keep, 0)
        for step in self.at:
            at_least("checkpoint.at", step, 1)


def at_least(name: str, value: int, low: int) -> None:
    """Refuses what is no whole number of at least ``low``."""
    if type(value) is not int or not low <= value < 2**63:
        raise InputError(f"{name} = {value!r} must be a whole number of at least {low}")
