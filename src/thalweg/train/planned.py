"""Training on a data plan: the batches of the loop, and the state that refuses another plan on resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from thalweg.data import Tokenizer, corpus, open_prepared, tokenize, tokenizer
from thalweg.data.plan import Order, Rows, load_plan, read_rows, read_state, state_of
from thalweg.data.plan.state import share
from thalweg.errors import InputError
from thalweg.train.hooks import Hook, State

__all__ = ["PlanBatches", "PlanHook", "open_plan", "plan_tokenizer", "validation_tokens"]

VERIFIED = 2**32
"""Bytes of tokens up to which every start compares the files with their SHA-256; above that only their sizes."""
TOGETHER = 2**17
"""Tokens that are read at once."""


class PlanBatches:
    """The batches of a plan, a pure function of (plan, step); neighbouring steps are read together.

    Args:
        order: the plan made concrete.
        batch: windows of a global batch.
    """

    def __init__(self, order: Order, batch: int) -> None:
        self.order, self.batch = order, batch
        self._kept: tuple[tuple[int, int, int], Rows] | None = None

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Rows:
        """The windows of one optimizer step; those of ranks 0 … world - 1, joined, are those of ``world=1``.

        Raises:
            InputError: the plan ends before this step, or ``world`` does not divide ``batch``.
        """
        mine = len(share(step, batch=self.batch, rank=rank, world=world))
        together = max(1, TOGETHER // (mine * self.order.plan.context))
        first = step // together * together
        if self._kept is None or self._kept[0] != (first, rank, world):
            last = max(step + 1, min(first + together, len(self.order) // self.batch))
            index = [share(each, batch=self.batch, rank=rank, world=world) for each in range(first, last)]
            self._kept = (first, rank, world), read_rows(self.order, np.concatenate(index))
        rows = self._kept[1]
        chosen = slice((step - first) * mine, (step - first + 1) * mine)
        segments = rows.segments[chosen] if self.order.plan.doc_mask and rows.segments is not None else None
        return Rows(rows.ids[chosen], rows.targets[chosen], segments, rows.source[chosen])

    def epochs(self, step: int) -> float:
        """Tokens read before this step over all tokens of the plan's sources."""
        return step * self.batch * self.order.plan.context / sum(each.count for each in self.order.sources.values())


class PlanHook(Hook):
    """Keeps in every checkpoint where the reading of a plan stands, and refuses to go on in another plan.

    Args:
        order: the plan made concrete.
        batch: windows of an update.
        override: go on even so.
    """

    name = "plan"

    def __init__(self, order: Order, batch: int, *, override: bool = False) -> None:
        self.order, self.batch, self.override, self.sample = order, batch, override, 0

    def after_step(self, state: State, metrics: dict[str, float]) -> None:
        """Counts the windows that were consumed."""
        self.sample = state.step * self.batch

    def state_dict(self) -> dict[str, Any]:
        """Windows consumed, fingerprint, plan and the windows left out so far."""
        return state_of(self.order, self.sample)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where ``state`` was made.

        Raises:
            InputError: the plan or one of its files is another one.
        """
        self.sample = read_state(self.order, state, override=self.override)


def open_plan(path: str, context: int) -> Order:
    """The plan of a recipe.

    Raises:
        InputError: the plan does not fit its sources, or its windows are not of ``context`` tokens.
    """
    plan = load_plan(path)
    if plan.context != context:
        raise InputError(f"data.context = {context} but plan {path} has context = {plan.context}: make them equal")
    return Order(plan, verify=sum(_token_bytes(Path(each.path)) for each in plan.sources.values()) <= VERIFIED)


def _token_bytes(path: Path) -> int:
    """Bytes of the token files of a source: a folder's shards, a shard, or a flat file."""
    files = [*path.glob("tokens/*.bin"), path.with_name(f"{path.name}.bin"), path]
    return sum(file.stat().st_size for file in files if file.is_file())


def validation_tokens(name: str, made: Tokenizer) -> tuple[np.ndarray, str]:
    """The held-out tokens beside a plan: all of a prepared folder or shard, or the validation split of a text.

    Args:
        name: ``data.corpus`` of a recipe.
        made: the plan's tokenizer.

    Returns:
        Token ids (m,) and a fingerprint.

    Raises:
        InputError: they come from another tokenizer than the plan's.
    """
    path = Path(name)
    if (path / "manifest.json").is_file() or path.with_name(f"{path.name}.json").is_file():
        held = open_prepared(path, verify=True)
        if held.tokenizer != made.fingerprint:
            raise InputError(f"data.corpus = {name!r} was not tokenized as the plan's sources are: use one tokenizer")
        return held.parts[0] if len(held.parts) == 1 else np.concatenate(held.parts), held.fingerprint
    text = corpus(name)
    return tokenize(text, made, "validation"), text.fingerprint


def plan_tokenizer(order: Order, named: str) -> Tokenizer:
    """The tokenizer of a plan's sources; a recipe that names one other than "byte" must name that very one.

    Raises:
        InputError: it is not to be found, or the recipe names another one.
    """
    told = next(iter(order.sources.values())).tokenizer
    own = None if named.startswith("bpe:") else tokenizer(named)
    found = (order.decoder or own) if named == "byte" else own
    if found is None or (told and found.fingerprint != told):
        raise InputError(
            f"data.tokenizer = {named!r} is not the one of the plan's sources: leave it out, or give the path of their "
            "tokenizer.json"
        )
    return found
