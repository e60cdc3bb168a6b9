"""What a training configuration may hold: every field with its kind, unit and scale, and the official number encoding.

A column of a table is a field's name or an alias of it, with or without a unit in brackets: ``tokens [B]``,
``learning_rate``. What is not listed here is refused, so that a misspelt column is not read as a new one.

Source: arXiv 2602.10300; zhqwqwq/Configuration-to-Performance-Scaling-Law at 4f6e64b0, generate_dataset.py (factors);
column names of the published sweeps of arXiv 2503.04715 and 2509.02046.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from thalweg.errors import InputError, suggest

__all__ = ["FIELDS", "LABELS", "TARGETS", "UNITS", "Field", "field_of", "parse_number"]

Role = Literal["scale", "shape", "derived", "number", "text"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a configuration.

    Attributes:
        role: ``scale`` (model size and data), ``shape`` (architecture, which follows the size in most sweeps),
            ``derived`` (follows from others), ``number`` or ``text``.
        scale: how a number enters a regression: ``log`` (natural logarithm), ``gap`` (log(1 - v), for decays) or
            ``linear``.
        factor: the official encoding multiplies the number by this and makes it one token; None: it is plain text.
        label: the official name in the sequence.
        unit: what the number counts.
    """

    role: Role
    scale: Literal["log", "gap", "linear"] = "linear"
    factor: float | None = None
    label: str = ""
    unit: str = "1"


FIELDS: dict[str, Field] = {
    "optimizer": Field("text", label="optimizer"),
    "lr_schedule": Field("text", label="lr schedule"),
    "normalization": Field("text", label="normalization"),
    "params": Field("scale", "log", 1e-8, "model size", "non-embedding parameters"),
    "tokens": Field("scale", "log", 1e-9, "data size", "tokens"),
    "hidden": Field("shape", "log", 1e-2, "hidden dim", "units"),
    "ffn_hidden": Field("shape", "log", None, "ffn hidden dim", "units"),
    "layers": Field("shape", "log", 1.0, "num layers", "layers"),
    "heads": Field("shape", "log", 1.0, "num heads", "heads"),
    "steps": Field("derived", "log", 1e-3, "max step", "optimizer steps"),
    "learning_rate": Field("number", "log", 1e4, "learning rate", "peak rate"),
    "min_lr": Field("number", "log", 1e4, "minlr", "rate at the end"),
    "min_lr_ratio": Field("number", "linear", 200.0, "min lr ratio", "share of the peak"),
    "batch_size": Field("number", "log", 0.1, "batch size", "sequences"),
    "warmup": Field("number", "linear", 1e-2, "warmup", "optimizer steps"),
    "weight_decay": Field("number", "linear", 100.0, "weight decay"),
    "max_grad_norm": Field("number", "linear", 1.0, "max grad norm"),
    "adam_lr": Field("number", "log", 1e4, "adam lr", "rate"),
    "block_size": Field("number", "log", 0.02, "block size"),
    "beta1": Field("number", "gap", label="beta1"),
    "beta2": Field("number", "gap", label="beta2"),
    "momentum": Field("number", "gap", label="momentum"),
    "shampoo_beta": Field("number", "gap", label="shampoo beta"),
    "epsilon": Field("number", "log", label="epsilon"),
    "muon_epsilon": Field("number", "log", label="muon epsilon"),
    "scion_epsilon": Field("number", "log", label="scion epsilon"),
    "decay": Field("number", "linear", label="decay", unit="share of the training"),
    "gamma": Field("number", "log", label="gamma"),
    "muon_to_adam_lr": Field("number", "log", label="muon to adam lr"),
    "scion_to_signum_lr": Field("number", "log", label="scion to signum lr"),
    "precondition_frequency": Field("number", "log", label="precondition frequency", unit="optimizer steps"),
    "preconditioner_init_scale": Field("number", "log", label="preconditioner init scale"),
    "preconditioner_lr": Field("number", "log", label="preconditioner lr"),
    "preconditioner_update_probability": Field("number", "log", label="preconditioner update probability"),
    "update_prob_flat_start": Field("number", "log", label="update prob flat start", unit="optimizer steps"),
    "nesterov": Field("number", "linear", label="nesterov", unit="switch"),
    "another_muon": Field("number", "linear", label="another muon", unit="switch"),
    "normalize_grads": Field("number", "linear", label="normalize grads", unit="switch"),
    "partition_grads_into_blocks": Field("number", "linear", label="partition grads", unit="switch"),
    "frac": Field("derived", "linear", 1.0, "frac", "share of the training at which the loss was read, (0, 1]"),
}
ALIASES = {
    "lr": "learning_rate",
    "peak_lr": "learning_rate",
    "batch": "batch_size",
    "batch_seqs": "batch_size",
    "train_batch_size": "batch_size",
    "n_layers": "layers",
    "n_heads": "heads",
    "warmup_steps": "warmup",
    "model": "params",
    "data": "tokens",
    "ncpl_split": "split",
}
TARGETS = ("loss", "smooth_loss", "c4_en_loss")
"""Columns that may hold the loss."""
LABELS = ("run_name", "name", "source", "model_size", "chinchilla", "split")
"""Columns that name a run and are no part of its configuration."""
UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "%": 1e-2, "nats": 1.0, "bits": 0.6931471805599453}
"""Units in brackets behind a column's name, or behind a number on the command line."""
_COLUMN = re.compile(r"^\s*([^\[\]]+?)\s*(?:\[\s*(.*?)\s*\])?\s*$")


def field_of(column: str) -> tuple[str, float]:
    """The field that a column's header names, and what a number in it is multiplied by.

    Raises:
        InputError: an unknown name or unit; the nearest known one is named.
    """
    found = _COLUMN.match(column)
    name, unit = (found.group(1), found.group(2) or "") if found else (column, "")
    name = ALIASES.get(name, name)
    known = (*FIELDS, *ALIASES, *TARGETS, *LABELS)
    if name not in known:
        raise InputError(f"column {column!r} is no field of a configuration: {suggest(name, known)}; or ignore it")
    fit = [known for known in UNITS if known and (known in ("nats", "bits")) == (name in TARGETS)]
    if unit and unit not in fit:
        raise InputError(f"unit {unit!r} of column {column!r} is not known: {suggest(unit, fit)}")
    return name, UNITS[unit]


def parse_number(text: str) -> float:
    """A number with an optional unit behind it, as ``520M`` or ``1e-3``; True and False are 1 and 0.

    Raises:
        ValueError: it is none.
    """
    word = text.strip()
    if word in ("True", "true", "False", "false"):
        return float(word in ("True", "true"))
    if word[-1:] in UNITS and word[-1:]:
        return float(word[:-1]) * UNITS[word[-1:]]
    return float(word)
