"""From equal keys to duplicates: buckets to edges, edges to components, components to kept documents and counts.

Source: Kaiyuan-2B (arXiv 2512.07612), thu-pacman/Kaiyuan-Spark, ``minhash.py`` and ``wcc.py``: every member of a bucket
is joined with the bucket's smallest document, the smallest document of each component is kept, and its count is the sum
over the component.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["bucket_edges", "smallest_of_component"]


def bucket_edges(keys: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Joins every document of a bucket with the bucket's smallest.

    Args:
        keys: (n, k) integers; documents of equal rows share a bucket.
        nodes: int64 (n,), the documents, ascending.

    Returns:
        int64 (m, 2): member, smallest of its bucket.
    """
    if len(keys) == 0:
        return np.empty((0, 2), dtype=np.int64)
    order = np.lexsort(keys.T[::-1])  # stable: within a bucket the nodes stay ascending
    ordered = keys[order]
    opens = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    first = np.maximum.accumulate(np.where(opens, np.arange(len(keys)), 0))
    return np.stack((nodes[order[~opens]], nodes[order[first[~opens]]]), axis=1)


def smallest_of_component(edges: Iterable[np.ndarray], documents: int) -> np.ndarray:
    """The smallest document that each document is connected with, int64 (documents,).

    Args:
        edges: arrays int64 (m, 2) of document numbers.
        documents: how many there are; one without edges is its own component.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = np.concatenate([np.empty((0, 2), dtype=np.int64), *edges])
    ones = np.ones(len(joined), dtype=np.int8)
    graph = coo_array((ones, (joined[:, 0], joined[:, 1])), shape=(documents, documents)).tocsr()
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)  # labels are 0 … components − 1
    return first[labels]
