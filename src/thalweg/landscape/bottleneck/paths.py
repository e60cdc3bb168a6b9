"""Widest paths from one source, d(v) = max over paths of the smallest weight on it, and minimax paths, their mirror.

All methods are exact and give the same values; the vertex before each on its path is found from the values alone. An
edge u to v is tight if min(d(u), w) = d(v); a search along tight edges reaches all that can be reached, and every path
it takes is widest for each vertex on it, with the fewest edges among such paths.

Source: arXiv 1808.10658 (Duan, Lyu, Xie, ICALP 2018, with Wu); the values' definition and the generalised start.
Differs: 1. its algorithm beats sorting in the number of comparisons; here the split with one threshold a class, on
arrays, is the fast way ("halving"), and the paper's own recursion is there for the record ("split"). Measured times are
in the card.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.errors import InputError
from thalweg.landscape.bottleneck.graph import EdgeList, edge_list
from thalweg.landscape.bottleneck.halving import halving
from thalweg.landscape.bottleneck.heap import heap, sweep
from thalweg.landscape.bottleneck.reach import by_source, tree_of
from thalweg.landscape.bottleneck.recursive import split
from thalweg.landscape.bottleneck.tree import tree_widths

__all__ = ["METHODS", "BottleneckPaths", "bottleneck_paths", "minimax_paths", "widest_path"]

METHODS: dict[str, Callable[[EdgeList, int], np.ndarray]] = {
    "heap": heap,
    "sweep": sweep,
    "halving": halving,
    "split": split,
    "mst": tree_widths,
}
"""The ways to the values; ``mst`` is for undirected graphs."""

SMALL = 50_000  # edges: below this the sweep is the fastest, above it halving (benchmarks/bottleneck_paths.py)


@dataclass(frozen=True, slots=True, eq=False)
class BottleneckPaths:
    """The best paths from one source.

    Attributes:
        source: vertex number.
        values: the bottleneck of the best path to each vertex, in the unit of the weights, float64 (n,). Widest paths:
            +inf at the source, -inf where no path leads. Minimax paths: -inf at the source, +inf where none leads.
        predecessors: the vertex before each on its path, -1 at the source and where no path leads, int32 (n,); None if
            not asked for.
        method: which of ``METHODS`` gave the values.
        graph: what was searched.
    """

    source: int
    values: np.ndarray
    predecessors: np.ndarray | None
    method: str
    graph: EdgeList

    def value(self, target: Hashable) -> float:
        """The bottleneck of the best path to ``target``, a vertex number or a node of a networkx graph."""
        return float(self.values[self.graph.index(target, "target")])

    def path(self, target: Hashable) -> list[Hashable]:
        """The vertices of a best path to ``target``, both ends included; empty where no path leads.

        Raises:
            InputError: no such vertex, or the paths were not asked for.
        """
        if self.predecessors is None:
            raise InputError("the paths were not kept: ask for predecessors=True")
        vertex = self.graph.index(target, "target")
        if vertex != self.source and self.predecessors[vertex] < 0:
            return []
        way = [vertex]
        while way[-1] != self.source:
            way.append(int(self.predecessors[way[-1]]))
        labels = self.graph.labels
        return [vertex if labels is None else labels[vertex] for vertex in reversed(way)]


def bottleneck_paths(
    graph: Any,
    source: Hashable,
    *,
    method: str = "auto",
    directed: bool | None = None,
    weight: str = "weight",
    vertices: int | None = None,
    predecessors: bool = True,
) -> BottleneckPaths:
    """Widest paths from one source: for each vertex the largest t such that edges of weight >= t lead there.

    Args:
        graph: (sources, targets, weights), a scipy sparse matrix, a networkx graph or an ``EdgeList``. Weights are any
            numbers but nan; an edge of weight -inf is as good as none.
        source: where all paths start, a vertex number or a node of a networkx graph.
        method: one of ``METHODS``, or "auto": ``mst`` for undirected graphs; for directed ones ``sweep`` below 50 000
            edges and ``halving`` above.
        directed: whether edges lead one way only; default True, or what a networkx graph says.
        weight: name of the weight in a networkx graph.
        vertices: how many vertices, where ``graph`` is three arrays; default the largest number plus one.
        predecessors: whether to keep the paths, which takes one more search.

    Raises:
        InputError: see ``edge_list``; no such source; an unknown method; ``mst`` for a directed graph.
    """
    listed = edge_list(graph, directed=directed, weight=weight, vertices=vertices)
    return _solve(listed, listed.index(source), method, predecessors)


def minimax_paths(
    graph: Any,
    source: Hashable,
    *,
    method: str = "auto",
    directed: bool | None = None,
    weight: str = "weight",
    vertices: int | None = None,
    predecessors: bool = True,
) -> BottleneckPaths:
    """Minimax paths from one source: for each vertex the smallest t such that edges of weight <= t lead there.

    The widest paths of the negated weights. Arguments and errors as for ``bottleneck_paths``; an edge of weight +inf is
    as good as none.
    """
    listed = edge_list(graph, directed=directed, weight=weight, vertices=vertices)
    found = _solve(listed.negated(), listed.index(source), method, predecessors)
    return BottleneckPaths(found.source, -found.values, found.predecessors, found.method, listed)


def widest_path(
    graph: Any,
    source: Hashable,
    target: Hashable,
    *,
    method: str = "auto",
    directed: bool | None = None,
    weight: str = "weight",
    vertices: int | None = None,
) -> tuple[float, list[Hashable]]:
    """Width and vertices of a widest path between two vertices; (-inf, []) where none leads.

    Arguments and errors as for ``bottleneck_paths``.
    """
    found = bottleneck_paths(graph, source, method=method, directed=directed, weight=weight, vertices=vertices)
    return found.value(target), found.path(target)


def _solve(graph: EdgeList, source: int, method: str, predecessors: bool) -> BottleneckPaths:
    if method == "auto":
        method = "mst" if not graph.directed else "sweep" if len(graph.weights) < SMALL else "halving"
    if method not in METHODS:
        raise InputError(f"method={method!r} is unknown: take auto, {', '.join(METHODS)}")
    if method == "mst" and graph.directed:
        raise InputError("method='mst' is for undirected graphs: say directed=False, or take 'halving'")
    values = METHODS[method](graph if method == "mst" else graph.both_ways(), source)
    before = _before(graph.both_ways(), source, values) if predecessors else None
    return BottleneckPaths(source, values, before, method, graph)


def _before(graph: EdgeList, source: int, values: np.ndarray) -> np.ndarray:
    """The vertex before each: a search along tight edges."""
    tight = np.minimum(values[graph.sources], graph.weights) == values[graph.targets]
    tight &= values[graph.targets] > -np.inf
    chosen = by_source(EdgeList(graph.sources[tight], graph.targets[tight], graph.weights[tight], graph.vertices))
    return tree_of(chosen.sources, chosen.targets, chosen.vertices, source)
