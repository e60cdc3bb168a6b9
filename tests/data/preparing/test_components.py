from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.preparing.components import bucket_edges, smallest_of_component


@given(keys=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_every_member_is_joined_with_the_smallest_of_its_bucket(keys: list[tuple[int, int]]):
    nodes = np.arange(len(keys)) * 3 + 1
    edges = bucket_edges(np.array(keys, dtype=np.uint64).reshape(-1, 2), nodes)
    wanted = sorted((int(nodes[i]), int(nodes[keys.index(key)])) for i, key in enumerate(keys) if keys.index(key) != i)
    assert sorted(map(tuple, edges.tolist())) == wanted


@given(edges=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=25))
def test_components_are_those_of_label_propagation(edges: list[tuple[int, int]]):
    labels = list(range(20))
    for _ in range(20):
        for a, b in edges:
            labels[a] = labels[b] = min(labels[a], labels[b])
    found = smallest_of_component([np.array(edges, dtype=np.int64).reshape(-1, 2)], 20)
    assert found.tolist() == labels


def test_no_documents_and_no_edges():
    assert smallest_of_component([], 3).tolist() == [0, 1, 2]
    assert len(smallest_of_component([], 0)) == 0
    assert bucket_edges(np.empty((0, 2), dtype=np.uint64), np.empty(0, dtype=np.int64)).shape == (0, 2)
