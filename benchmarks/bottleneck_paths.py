"""Widest paths from one source: which method wins at which size, on sparse graphs of up to 10^7 edges.

Random directed graphs with uniform weights, with 16 distinct weights, and a square grid whose two directions have
weights of their own; the same edges taken as undirected for ``mst``. Peers, from the same arrays: ``networkx-style`` is
the widest-path Dijkstra over a networkx graph's dicts that its users are told to write (the graph is built outside the
clock); ``scipy dijkstra`` is scipy's compiled search for shortest paths on the same edges, another problem of the same
size of work; ``numba heap`` runs where numba is installed. Methods run in turn on one thread; CPU seconds, min, median
and max over repeats; all values compared. Writes benchmarks/results/bottleneck.json.

    python benchmarks/bottleneck_paths.py [--largest 10000000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import heapq
import json
import platform
from collections.abc import Callable
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import scipy
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from thalweg.files import write_atomic
from thalweg.landscape import bottleneck_paths

CASES = (
    ("random", 2_000, 8_000),
    ("random", 20_000, 80_000),
    ("random", 200_000, 400_000),
    ("random", 200_000, 1_600_000),
    ("16 weights", 200_000, 1_600_000),
    ("grid", 1_000_000, 3_996_000),
    ("random", 1_000_000, 4_000_000),
    ("random", 2_500_000, 10_000_000),
)
MOST = {"split": 400_000, "networkx-style": 400_000, "heap": 1_600_000, "sweep": 1_600_000}
"""Edges above which a method of pure Python is left out."""
ONCE = 300_000  # edges above which there is one repeat

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def graph(kind: str, vertices: int, edges: int) -> Arrays:
    rng = np.random.default_rng(edges)
    if kind == "grid":
        side = int(vertices**0.5)
        place = np.arange(vertices, dtype=np.int32).reshape(side, side)
        pairs = [(place[:, :-1], place[:, 1:]), (place[:-1], place[1:])]
        u = np.concatenate([a.ravel() for a, _ in pairs] + [b.ravel() for _, b in pairs])
        v = np.concatenate([b.ravel() for _, b in pairs] + [a.ravel() for a, _ in pairs])
        return u, v, rng.random(len(u))
    u, v = (rng.integers(0, vertices, edges, dtype=np.int32) for _ in range(2))
    return u, v, rng.integers(1, 17, edges) / 16 if kind == "16 weights" else rng.random(edges)


def networkx_style(arrays: Arrays, vertices: int) -> Callable[[], np.ndarray]:
    import networkx

    made = networkx.MultiDiGraph()
    made.add_nodes_from(range(vertices))
    made.add_weighted_edges_from(zip(*(part.tolist() for part in arrays), strict=True))

    def search() -> np.ndarray:
        width, seen, ticket = {}, {0: np.inf}, count()
        fringe = [(-np.inf, next(ticket), 0)]
        while fringe:
            wide, _, u = heapq.heappop(fringe)
            if u in width:
                continue
            width[u] = -wide
            for v, several in made._adj[u].items():
                new = min(-wide, max(data["weight"] for data in several.values()))
                if v not in width and new > seen.get(v, -np.inf):
                    seen[v] = new
                    heapq.heappush(fringe, (-new, next(ticket), v))
        return np.array([width.get(v, -np.inf) for v in range(vertices)])

    return search


def numba_heap() -> Callable[[Arrays, int], np.ndarray]:
    import numba

    def settle(u, v, w, vertices):
        rows = np.zeros(vertices + 2, np.int64)
        for each in u:
            rows[each + 2] += 1
        for k in range(2, vertices + 2):
            rows[k] += rows[k - 1]
        ends, weights = np.empty(len(u), np.int64), np.empty(len(u))
        for k in range(len(u)):
            at = rows[u[k] + 1]
            rows[u[k] + 1] += 1
            ends[at], weights[at] = v[k], w[k]
        width, done = np.full(vertices, -np.inf), np.zeros(vertices, np.bool_)
        width[0] = np.inf
        queue = [(-np.inf, 0)]
        while len(queue):
            wide, a = heapq.heappop(queue)
            if done[a]:
                continue
            done[a] = True
            for k in range(rows[a], rows[a + 1]):
                new = min(-wide, weights[k])
                if new > width[ends[k]]:
                    width[ends[k]] = new
                    heapq.heappush(queue, (-new, ends[k]))
        return width

    compiled = numba.njit(settle)
    arrays = np.zeros(1, np.int32), np.ones(1, np.int32), np.ones(1)
    compiled(*arrays, 2)
    return lambda given, vertices: compiled(*given, vertices)


def ways(arrays: Arrays, vertices: int, numba: Callable | None) -> dict[str, Callable[[], np.ndarray | None]]:
    def ours(method: str, directed: bool = True, paths: bool = False) -> Callable[[], np.ndarray]:
        return lambda: (
            bottleneck_paths(arrays, 0, method=method, directed=directed, vertices=vertices, predecessors=paths).values
        )

    def shortest() -> None:
        u, v, w = arrays
        dijkstra(coo_array((w, (u, v)), shape=(vertices, vertices)).tocsr(), indices=0)

    calls: dict[str, Callable[[], np.ndarray | None]] = {
        name: ours(name) for name in ("halving", "heap", "sweep", "split")
    }
    calls["halving, with paths"] = ours("halving", paths=True)
    calls["undirected: mst"] = ours("mst", directed=False)
    calls["undirected: halving"] = ours("halving", directed=False)
    calls["scipy dijkstra"] = shortest
    if numba is not None:
        calls["numba heap"] = lambda: numba(arrays, vertices)
    few = {name: call for name, call in calls.items() if len(arrays[0]) <= MOST.get(name, len(arrays[0]))}
    if len(arrays[0]) <= MOST["networkx-style"]:
        few["networkx-style"] = networkx_style(arrays, vertices)
    return few


def compare(kind: str, vertices: int, edges: int, repeats: int, numba: Callable | None) -> dict[str, object]:
    arrays = graph(kind, vertices, edges)
    calls = ways(arrays, vertices, numba)
    times: dict[str, list[float]] = {name: [] for name in calls}
    known: dict[bool, np.ndarray] = {}
    for _ in range(1 if edges > ONCE else repeats):
        for name, call in calls.items():
            start = process_time()
            values = call()
            times[name].append(process_time() - start)
            if values is not None:
                np.testing.assert_array_equal(values, known.setdefault(name.startswith("undirected"), values))
    spread = {name: [min(t), median(t), max(t)] for name, t in times.items()}
    print(f"{kind}, {vertices} vertices, {len(arrays[0])} edges, reached {np.isfinite(known[False]).sum()}")
    for name, (low, mid, high) in sorted(spread.items(), key=lambda item: item[1][1]):
        ratio = mid / spread["halving"][1]
        print(f"    {name:22s} {mid:9.4f} s ({low:.4f} to {high:.4f})  {ratio:6.2f} of halving", flush=True)
    reached = int((known[False] > -np.inf).sum())
    return {"kind": kind, "vertices": vertices, "edges": len(arrays[0]), "reached": reached, "seconds": spread}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    numba = numba_heap() if find_spec("numba") else None
    bottleneck_paths(([0], [1], [1.0]), 0, method="halving")
    rows = [compare(*case, asked.repeats, numba) for case in CASES if case[2] <= asked.largest]
    versions = {"numpy": np.__version__, "scipy": scipy.__version__, "python": platform.python_version()}
    if numba is not None:
        versions["numba"] = __import__("numba").__version__
    path = Path(__file__).parent / "results" / "bottleneck.json"
    write_atomic(path, json.dumps({"versions": versions, "threads": 1, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
