from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planned_data import END, in_memory
from thalweg.data import ByteTokenizer, Corpus, Document, Prepared, open_prepared
from thalweg.data.plan import Order, Phase, Plan, Source, TokenDataset, read_rows
from thalweg.data.plan.rows import IGNORE, labels, positions
from thalweg.errors import InputError

lengths = st.lists(st.integers(1, 20), min_size=1, max_size=30)


def order_of(documents: list[int], *, order: str = "ascend", context: int = 7, parts: int = 1, **changes) -> Order:
    """Documents that come in their own order."""
    made = in_memory(documents, quality=np.arange(len(documents)))
    if parts > 1:  # the same tokens in several files, cut between documents
        cuts = made.begin[:: max(1, len(documents) // parts)].tolist()
        edges = sorted({*cuts, int(made.begin[-1])})
        split = tuple(made.parts[0][a:b] for a, b in pairwise(edges))
        made = Prepared(
            made.name, split, made.begin, made.columns, made.vocab_size, END, made.tokenizer, made.fingerprint
        )
    plan = Plan(sources={"a": Source("a", score="quality")}, phases=(Phase(order=order),), context=context, **changes)
    return Order(plan, {"a": made})


@settings(max_examples=60)
@given(lengths, st.integers(2, 9), st.integers(1, 3))
def test_concat_rows_are_the_tokens_end_to_end(documents: list[int], context: int, parts: int):
    order = order_of(documents, context=context, parts=parts)
    rows = read_rows(order, np.arange(len(order)))
    tokens = list(range(1, sum(documents) + 1))
    padded = len(order) * context - len(tokens)
    assert rows.ids.reshape(-1).tolist() == (tokens + [END] * max(0, padded))[: len(order) * context]
    wanted = (tokens[1:] + [IGNORE] * (padded + 1))[: len(order) * context]
    assert rows.targets.reshape(-1).tolist() == wanted
    owner = np.repeat(np.arange(len(documents)), documents)
    for row, segments in enumerate(rows.segments):
        mine = owner[row * context : (row + 1) * context]
        assert segments[: len(mine)].tolist() == (mine - mine[0]).tolist()
        assert (segments[len(mine) :] == -1).all()


@settings(max_examples=60)
@given(lengths, st.integers(2, 9), st.sampled_from(["pack", "pad"]))
def test_rows_of_whole_documents_never_predict_across_a_boundary(documents: list[int], context: int, how: str):
    order = order_of(documents, context=context, packing=how)
    rows = read_rows(order, np.arange(len(order)))
    owner = np.concatenate([[-1], np.repeat(np.arange(len(documents)), documents)])
    real = rows.segments >= 0
    scored = rows.targets != IGNORE
    assert (rows.ids[~real] == END).all()
    assert not (scored & ~real).any()
    assert (owner[rows.targets[scored]] == owner[rows.ids[scored]]).all()
    assert (rows.targets[scored] == rows.ids[scored] + 1).all()
    # every token but the first of each document is predicted exactly once
    first = np.cumsum(documents) - documents + 1
    assert np.array_equal(np.sort(rows.targets[scored]), np.setdiff1d(np.arange(1, sum(documents) + 1), first))


def test_labels_are_targets_moved_by_one():
    rows = read_rows(order_of([5, 3, 9]), np.arange(2))
    moved = labels(rows)
    assert np.array_equal(moved[:, 1:], rows.targets[:, :-1])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_positions_start_anew_with_each_document(documents: list[int]):
    segments = np.repeat(np.arange(len(documents)), documents)[None]
    assert positions(segments)[0].tolist() == [t for length in documents for t in range(length)]


def test_data_set_items_have_what_trainers_ask_for():
    order = order_of([5, 3, 9, 4], packing="pack", doc_mask=True)
    found, about = TokenDataset(order), TokenDataset(order, about=True)
    assert set(found[0]) == {"input_ids", "labels", "targets", "position_ids", "segments", "source", "sample"}
    assert about[0]["ids"] == ["mem-0", "mem-2"]  # 5 tokens, and the 2 that 7 leave of 9
    assert about[0]["source_name"] == "a"
    assert [item["sample"] for item in found.__getitems__([2, 0])] == [2, 0]
    assert len(list(found)) == len(order)  # the old protocol of sequences ends with IndexError


def test_a_window_beyond_the_plan_is_refused():
    order = order_of([5, 3])
    with pytest.raises(InputError, match="window 9 is asked for but the plan has 1"):
        read_rows(order, np.array([9]))


def test_flat_files_give_their_windows_with_the_true_next_token(tmp_path):
    tokens = np.arange(1000, dtype="<u2")
    tokens.tofile(tmp_path / "flat.bin")
    np.save(tmp_path / "flat.npy", tokens)
    sources = {"a": Source(str(tmp_path / "flat.bin"), dtype="uint16"), "b": Source(str(tmp_path / "flat.npy"))}
    order = Order(Plan(sources=sources, phases=(Phase(),), context=9))
    rows = read_rows(order, np.arange(len(order)))
    assert len(order) == 2 * 111
    assert np.array_equal(rows.targets, rows.ids + 1)
    assert np.array_equal(np.sort(rows.ids[:, 0]), np.repeat(np.arange(111) * 9, 2))


def test_a_corpus_in_memory_reads_as_it_was_written():
    texts = [f"text number {i}, of some length. " * (i + 1) for i in range(6)]
    corpus = Corpus("mine", tuple(Document(f"d{i}", text) for i, text in enumerate(texts)))
    source = open_prepared(corpus, tokenizer=ByteTokenizer())
    order = Order(Plan(sources={"a": Source("mine")}, phases=(Phase(),), context=11), {"a": source})
    said = {row["ids"][0] for row in TokenDataset(order, about=True).__getitems__(range(len(order)))}
    assert said <= {f"d{i}" for i in range(6)}
    packed = Order(order.plan.replace(packing="pad", context=500), {"a": source})
    found = [ByteTokenizer().decode(row[:-1][row[:-1] > 0]) for row in read_rows(packed, np.arange(6)).ids]
    assert sorted(found) == sorted(texts)
