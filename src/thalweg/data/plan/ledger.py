"""The account of a plan before it runs: rows, tokens, epochs, domain shares, how often each quality decile comes."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.data.plan.order import Order, Stretch
from thalweg.errors import InputError, suggest

__all__ = ["check_limits", "ledger"]

DECILES = 10
ROUNDING = 1e-9


def ledger(order: Order) -> dict[str, Any]:
    """What a plan delivers, counted exactly.

    Epochs are tokens delivered over tokens of the documents taken; the times a decile is seen are tokens delivered from
    it over all its tokens, decile 1 the best by rank in its source.

    Returns:
        ``windows``, ``tokens`` (windows times context), ``skipped``; ``phases``: a list with ``name``, ``order``,
        ``windows``, ``tokens``, ``sources`` (a list with ``source``, ``documents``, ``rows``, ``tokens``, ``share``,
        ``epochs``) and ``domains`` (share of the tokens by domain); ``sources``: by name ``documents``, ``tokens``,
        ``epochs`` (whole plan), ``unscored`` and ``deciles`` (ten lists of one number a phase; none without a score).
    """
    library, count = order.library, len(order.library.names)
    given = [_delivered(order, stretch) for stretch in order.stretches]
    lengths = library.lengths.astype(np.float64)
    taken = np.zeros(len(lengths), dtype=bool)
    phases = []
    for stretch, tokens in zip(order.stretches, given, strict=True):
        rows = _rows(order, stretch)
        taken |= rows > 0
        here = _by(library.owners, tokens, count)
        documents = _by(library.owners, (rows > 0).astype(np.float64), count)
        kept = _by(library.owners, np.where(rows > 0, lengths, 0.0), count)
        entries = [
            {
                "source": name,
                "documents": int(documents[k]),
                "rows": int(rows[library.first[k] : library.first[k + 1]].sum()),
                "tokens": int(here[k]),
                "share": float(here[k] / here.sum()),
                "epochs": float(here[k] / kept[k]),
            }
            for k, name in enumerate(library.names)
            if documents[k]
        ]
        phases.append(
            {
                "name": stretch.name,
                "order": stretch.phase.order,
                "windows": stretch.windows,
                "tokens": stretch.windows * order.plan.context,
                "sources": entries,
                "domains": _domains(order, tokens),
            }
        )
    sources = {}
    for k, name in enumerate(library.names):
        mine = slice(library.first[k], library.first[k + 1])
        kept_tokens = float(lengths[mine][taken[mine]].sum())
        scores = library.scores(name)
        sources[name] = {
            "documents": len(order.sources[name]),
            "tokens": int(lengths[mine].sum()),
            "epochs": float(sum(tokens[mine].sum() for tokens in given) / kept_tokens) if kept_tokens else 0.0,
            "unscored": int(np.isnan(scores).sum()) if scores is not None else 0,
            "deciles": _deciles(order, name, [tokens[mine] for tokens in given], lengths[mine]),
        }
    return {
        "windows": len(order),
        "tokens": len(order) * order.plan.context,
        "skipped": order.total - len(order),
        "phases": phases,
        "sources": sources,
    }


def check_limits(order: Order) -> None:
    """Refuses a plan that breaks its own limits.

    Raises:
        InputError: a domain's share of a phase's tokens is outside ``limits``, no document has that domain, or a source
            exceeds ``max_epochs``.
    """
    for domain in order.plan.limits:
        if domain not in order.library.domains[0]:
            raise InputError(f"limits names domain {domain!r}: {suggest(domain, order.library.domains[0])}")
    account = ledger(order)
    for phase in account["phases"]:
        for domain, (least, most) in order.plan.limits.items():
            share = phase["domains"].get(domain, 0.0)
            if not least - ROUNDING <= share <= most + ROUNDING:
                raise InputError(
                    f"{phase['name']} has {share:.1%} of its tokens from domain {domain!r}, limits allow "
                    f"{least:.1%} to {most:.1%}: change weights or what is taken"
                )
    for name, source in order.plan.sources.items():
        epochs = account["sources"][name]["epochs"]
        if source.max_epochs and epochs > source.max_epochs * (1 + ROUNDING):
            raise InputError(
                f"sources.{name} comes {epochs:.2f} times, max_epochs = {source.max_epochs:g}: lower its weight or "
                "repeat, or keep more of it"
            )


def _delivered(order: Order, stretch: Stretch) -> np.ndarray:
    """Tokens of each document in a phase, float64 (documents,)."""
    total = np.zeros(len(order.library.lengths))
    for name, stream in stretch.streams.items():
        numbers, tokens = stream.delivered(*stretch.used[name])
        total[numbers] += tokens
    return total


def _rows(order: Order, stretch: Stretch) -> np.ndarray:
    """Copies of each document that a phase lists, int64 (documents,)."""
    total = np.zeros(len(order.library.lengths), dtype=np.int64)
    for stream in stretch.streams.values():
        total += np.bincount(stream.documents, minlength=len(total))
    return total


def _by(groups: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(groups, weights=values, minlength=count)


def _domains(order: Order, tokens: np.ndarray) -> dict[str, float]:
    names, codes = order.library.domains
    shares = _by(codes, tokens, len(names)) / tokens.sum()
    return dict(zip(names, shares.tolist(), strict=True))


def _deciles(order: Order, name: str, given: list[np.ndarray], lengths: np.ndarray) -> list[list[float]]:
    deciles = order.library.deciles(name)
    if deciles is None:
        return []
    whole = _by(deciles, lengths, DECILES)
    times = [_by(deciles, tokens, DECILES) / np.maximum(whole, 1) for tokens in given]
    return np.stack(times, axis=1).tolist()
