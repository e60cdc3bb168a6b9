"""Between the passes: which documents stay, and how many each stands for.

Ids are ranked as text, so that "the smallest id" is the same whatever the order and number of inputs. Memory here is
about 150 bytes a document and its id's length; with ``confirm`` and ``check`` the texts of 1024 pairs are added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.data.preparing.batches import Row, arrow
from thalweg.data.preparing.components import bucket_edges, smallest_of_component
from thalweg.data.preparing.config import Exact, Input, MinHash
from thalweg.data.preparing.formats import place, read_piece
from thalweg.data.preparing.minhash import shingle_hashes
from thalweg.data.preparing.pieces import Piece
from thalweg.data.preparing.staging import Staged
from thalweg.errors import InputError

__all__ = ["Resolution", "jaccard", "refuse_equal_ids", "resolve"]

PAIRS = 1024
"""Candidate pairs whose texts are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Resolution:
    """What the comparison of all documents found.

    Attributes:
        duplicates: for each part int64 (documents,): how many documents each stands for; 0 for removed ones.
        exact: documents and bytes left after the removal of equal texts, or None if that was not asked for.
        near: likewise after that of near-duplicates, with the groups found.
    """

    duplicates: tuple[np.ndarray, ...]
    exact: dict[str, Any] | None
    near: dict[str, Any] | None


def refuse_equal_ids(staged: Sequence[Staged], parts: Sequence[tuple[Piece, ...]], inputs: Sequence[Input]) -> None:
    """Raises InputError with both places if two documents that were read have one id."""
    arrays = [each.arrays() for each in staged]
    keys = _joined([found["read_ids"] for found in arrays], (0, 2))
    order = np.lexsort(keys.T)
    same = np.flatnonzero((keys[order[1:]] == keys[order[:-1]]).all(axis=1))
    if not len(same):
        return
    ends = np.cumsum([len(found["read_ids"]) for found in arrays])
    where = []
    for row in sorted(order[same[0] : same[0] + 2]):
        part = int(np.searchsorted(ends, row, side="right"))
        row -= int(ends[part]) - len(arrays[part]["read_ids"])
        where.append((parts[part][arrays[part]["read_piece"][row]], int(arrays[part]["read_at"][row])))
    (first, at), (second, other) = where
    rows = read_piece(first, inputs[first.source.input])
    name = next((row.id for row in rows if isinstance(row, Row) and row.at == at), "")
    raise InputError(
        f"{place(first, at)} and {place(second, other)} both have the id {name!r} "
        f"({len(same)} such in all): ids must differ; take one out, or leave the key id away to have ids made"
    )


def resolve(
    staged: Sequence[Staged],
    parts: Sequence[tuple[Piece, ...]],
    inputs: Sequence[Input],
    exact: Exact | None,
    near: MinHash | None,
) -> Resolution:
    """Finds equal and nearly equal documents and keeps the smallest id of each group.

    Args:
        staged: the parts after the first pass; those without documents included.
        parts: their pieces.
        inputs: of the preparation.
        exact: how equal texts are compared, or None.
        near: how near-duplicates are compared, or None.
    """
    arrays = [each.arrays() for each in staged]
    ends = np.cumsum([0, *(len(found["piece"]) for found in arrays)])
    documents = int(ends[-1])
    by_rank = _by_id(staged, documents)
    keeper = np.arange(documents)  # of each rank; all below is in ranks
    reports: list[dict[str, Any] | None] = [None, None]
    sizes = _joined([found["sizes"] for found in arrays], (0,), np.int64)[by_rank]
    sources = _sources(arrays, parts, inputs)[by_rank]
    alone = np.zeros(documents, dtype=np.uint64)
    if exact is not None:
        keys = _joined([found["exact"] for found in arrays], (0, 2))[by_rank]
        group = sources if exact.within == "source" else alone
        edges = bucket_edges(np.column_stack((group, keys)), np.arange(documents))
        keeper[edges[:, 0]] = edges[:, 1]
        reports[0] = _left(keeper, sizes)
    if near is not None:
        group = sources if near.within == "source" else alone
        signed = _joined([found["signed"] for found in arrays], (0,), bool)[by_rank]
        nodes = np.flatnonzero(signed & (keeper == np.arange(documents)))
        edges = _candidates(staged, by_rank, nodes, group)
        edges, report = _checked(edges, staged, ends, by_rank, near)
        smallest = smallest_of_component([edges], documents)
        keeper = smallest[keeper]
        joined = np.bincount(smallest[nodes], minlength=documents)
        reports[1] = {
            **_left(keeper, sizes),
            "groups": int((joined > 1).sum()),
            "largest_group": int(joined.max(initial=0)),
            "candidate_pairs": len(edges),
            "unsigned": int(documents - signed.sum()),
            **report,
        }
    counts = np.empty(documents, dtype=np.int64)
    counts[by_rank] = np.bincount(keeper, minlength=documents)
    return Resolution(tuple(np.split(counts, ends[1:-1])) if len(staged) else (), *reports)


def _left(keeper: np.ndarray, sizes: np.ndarray) -> dict[str, int]:
    stays = keeper == np.arange(len(keeper))
    return {"documents": int(stays.sum()), "bytes": int(sizes[stays].sum())}


def jaccard(first: str, second: str, words: int = 5) -> float:
    """Jaccard similarity of the sets of word 5-grams, as 64-bit hashes: |A ∩ B| / |A ∪ B|; 0 of two empty sets."""
    a, b = (np.unique(shingle_hashes([text], words)[0]) for text in (first, second))
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / max(1, len(a) + len(b) - both)


def _by_id(staged: Sequence[Staged], documents: int) -> np.ndarray:
    """Numbers of the documents in the order of their ids, int64 (documents,)."""
    pa = arrow()
    chunks = [batch.column("id") for each in staged for batch in each.batches(["id"])]
    if not documents:
        return np.empty(0, dtype=np.int64)
    order = pa.compute.call_function("sort_indices", [pa.chunked_array(chunks, type=pa.string())])
    return np.asarray(order).astype(np.int64)


def _sources(
    arrays: Sequence[dict[str, np.ndarray]], parts: Sequence[tuple[Piece, ...]], inputs: Sequence[Input]
) -> np.ndarray:
    """A number for each document that is equal for documents of one source."""
    names = sorted({each.name for each in inputs})
    number = {i: names.index(each.name) for i, each in enumerate(inputs)}
    found = [
        np.array([number[piece.source.input] for piece in pieces], dtype=np.uint64)[each["piece"]]
        for each, pieces in zip(arrays, parts, strict=True)
    ]
    return _joined(found, (0,))


def _joined(found: Sequence[np.ndarray], shape: tuple[int, ...], dtype: Any = np.uint64) -> np.ndarray:
    return np.concatenate([np.empty(shape, dtype=dtype), *found])


def _candidates(staged: Sequence[Staged], by_rank: np.ndarray, nodes: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Distinct edges of all bands, one band in memory at a time."""
    bands = [each.bands() for each in staged if each.file("bands.npy").is_file()]
    found = [np.empty((0, 2), dtype=np.int64)]
    for band in range(len(bands[0]) if bands else 0):
        keys = np.concatenate([each[band] for each in bands])[by_rank[nodes]]
        found.append(bucket_edges(np.column_stack((group[nodes], keys)), nodes))
    return np.unique(np.concatenate(found), axis=0)


def _checked(
    edges: np.ndarray, staged: Sequence[Staged], ends: np.ndarray, by_rank: np.ndarray, near: MinHash
) -> tuple[np.ndarray, dict[str, Any]]:
    """Exact similarities of the edges asked for; the edges that stay, and what to report."""
    if not len(edges) or not (near.confirm or near.check):
        return edges, {}
    rows = np.arange(len(edges))
    if not near.confirm:
        rows = np.unique(np.linspace(0, len(edges) - 1, min(near.check, len(edges))).astype(np.int64))
    values = np.concatenate(
        [
            _similarities(edges[chunk], staged, ends, by_rank, near.words)
            for chunk in np.split(rows, range(PAIRS, len(rows), PAIRS))
        ]
    )
    below = values < near.threshold
    report = {
        "pairs": len(values),
        "smallest": float(values.min()),
        "mean": float(values.mean()),
        "below_threshold": int(below.sum()),
    }
    return edges[~below] if near.confirm else edges, {"exact_jaccard": report}


def _similarities(
    edges: np.ndarray, staged: Sequence[Staged], ends: np.ndarray, by_rank: np.ndarray, words: int
) -> np.ndarray:
    texts = dict(_texts(staged, ends, np.unique(by_rank[edges])))
    return np.array([jaccard(texts[a], texts[b], words) for a, b in by_rank[edges].tolist()])


def _texts(staged: Sequence[Staged], ends: np.ndarray, documents: np.ndarray) -> Iterator[tuple[int, str]]:
    """Texts of the documents (ascending numbers), reading only the parts that hold any."""
    for part, each in enumerate(staged):
        wanted = documents[(documents >= ends[part]) & (documents < ends[part + 1])]
        begin = int(ends[part])
        for batch in each.batches(["text"]) if len(wanted) else ():
            rows = wanted[(wanted >= begin) & (wanted < begin + batch.num_rows)]
            yield from zip(rows.tolist(), batch.column("text").take(rows - begin).to_pylist(), strict=True)
            begin += batch.num_rows
