"""Where tokens stand: their rotary angles, and which other tokens each may see.

Three cases: plain rows (causal), sequences packed into one row (causal within each, positions restart), and rows with
padding or a cache (an explicit mask; positions count real tokens only).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.nn.rope import RopeTable
from thalweg.nn.state import ModelState

__all__ = ["Places", "locate", "segment_lengths", "visible"]


class Places:
    """Where the tokens of one forward pass stand; all blocks share it and add to it.

    No dataclass: ``fully_shard`` gives each block a copy of those, and what the block adds to it is lost.

    Args:
        cos: (T, 1, D) or (B, T, 1, D), rotary cosines of the new tokens.
        sin: as ``cos``, signed sines.
        mask: (B, 1, T, S) true where a token may look; None for causal attention among the T new tokens.
        segments: lengths of the packed sequences, which do not see each other; None where nothing is packed.
        start: slots of the state in use before this pass.
        valid: (B, T) true where a new token is real and not padding; None where all are.
        taps: what was asked for by name, filled layer by layer.

    Attributes:
        penalties: scalars that the parts add to the training loss, their weights multiplied in; None while nothing
            is trained.
        aux: numbers that the parts report beside them, by name, one a layer.
        kept: what a layer counted in this pass, by its index: a pass that is recomputed (activation checkpointing)
            takes it again instead of counting twice.
    """

    def __init__(
        self,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None = None,
        segments: list[int] | None = None,
        start: int = 0,
        valid: Tensor | None = None,
        taps: dict[str, list[Tensor]] | None = None,
    ) -> None:
        self.cos, self.sin, self.mask = cos, sin, mask
        self.segments, self.start, self.valid = segments, start, valid
        self.taps = taps or {}
        self.penalties: list[Tensor] | None = None
        self.aux: dict[str, list[Tensor]] = {}
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def wants(self, name: str) -> bool:
        """Whether somebody asked for the tap ``name``."""
        return name in self.taps

    def tap(self, name: str, value: Tensor) -> None:
        """Keeps ``value`` for whoever asked for ``name``."""
        if name in self.taps:
            self.taps[name].append(value)


def locate(
    ids: Tensor,
    rope: RopeTable,
    *,
    cu_seqlens: Tensor | None = None,
    attention_mask: Tensor | None = None,
    state: ModelState | None = None,
) -> Places:
    """The places of the tokens ``ids``, checked against the table of angles.

    Args:
        ids: (B, T).
        rope: the angles.
        cu_seqlens: (n + 1,), where each packed sequence starts, then T; B must be 1.
        attention_mask: (B, T), zero at padding.
        state: advanced by T slots.

    Raises:
        InputError: shapes do not fit, or more positions than the context has.
    """
    rows, count = ids.shape
    if attention_mask is not None and attention_mask.shape != ids.shape:
        raise InputError(
            f"attention_mask of shape {tuple(attention_mask.shape)} must have that of ids, {tuple(ids.shape)}"
        )
    if cu_seqlens is not None:
        if state is not None or attention_mask is not None:
            raise InputError("cu_seqlens packs sequences without padding: drop attention_mask and state")
        segments = segment_lengths(cu_seqlens, rows, count)
        cos, sin = rope(max(segments), ids.device)
        position = torch.cat([torch.arange(n, device=ids.device) for n in segments])
        return Places(cos[position], sin[position], segments=segments)
    if state is None and attention_mask is None:
        return Places(*rope(count, ids.device))
    if state is None:
        state = ModelState([], torch.zeros(rows, count, dtype=torch.bool, device=ids.device))
    cos, sin = rope(state.length + count, ids.device)
    start = state.length
    position = state.admit(attention_mask, rows, count)
    valid = None if attention_mask is None else attention_mask.bool()
    return Places(cos[position], sin[position], mask=_cache_mask(state, start), start=start, valid=valid)


def segment_lengths(cu_seqlens: Tensor, rows: int, count: int) -> list[int]:
    """Lengths of the packed sequences, after checking that they fill the one row."""
    bounds = cu_seqlens.tolist()
    lengths = [stop - start for start, stop in pairwise(bounds)]
    if rows != 1 or not lengths or bounds[0] != 0 or bounds[-1] != count or min(lengths) < 1:
        raise InputError(
            f"cu_seqlens={bounds} must rise from 0 to the {count} tokens of one row; ids has {rows} row(s)"
        )
    return lengths


def visible(places: Places, count: int) -> Tensor:
    """The mask that ``places`` stands for, spelled out: (T, T), or (B, 1, T, S) with a state or padding."""
    if places.mask is not None:
        return places.mask
    device = places.cos.device
    causal = torch.ones(count, count, dtype=torch.bool, device=device).tril()
    if places.segments is None:
        return causal
    lengths = torch.tensor(places.segments, device=device)
    owner = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
    return causal & (owner[:, None] == owner)


def _cache_mask(state: ModelState, start: int) -> Tensor:
    """(B, 1, T, S): real slots up to oneself, and always oneself, so that no row is empty."""
    slot = torch.arange(state.length, device=state.valid.device)
    query = slot[start:, None]
    return ((state.valid[:, None, : state.length] & (slot <= query)) | (slot == query))[:, None]
