from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.plan.pack import OPEN, concat_windows, pack

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=80)
contexts = st.integers(2, 16)


def whole(documents: list[int], context: int, how: str) -> list[list[tuple[int, int, int]]]:
    """(document, start, length) of the pieces of every window, all windows read at once."""
    packed = pack(np.array(documents), context, how)
    pieces = packed.pieces(np.arange(packed.windows))
    windows: list[list[tuple[int, int, int]]] = [[] for _ in range(packed.windows)]
    for row, slot, start, length in zip(
        *(each.tolist() for each in (pieces.row, pieces.slot, pieces.start, pieces.length)), strict=True
    ):
        windows[row].append((slot, start, length))
    return windows


@given(lengths, contexts)
def test_concat_is_the_cut_of_all_documents_end_to_end(documents: list[int], context: int):
    stream = [(slot, token) for slot, length in enumerate(documents) for token in range(length)]
    windows = whole(documents, context, "concat")
    assert len(windows) == max(1, -(-(len(stream) - 1) // context))
    for number, window in enumerate(windows):
        said = [(slot, start + t) for slot, start, length in window for t in range(length)]
        assert said == stream[number * context : (number + 1) * context]


@given(lengths, contexts)
def test_concat_says_where_the_next_document_follows(documents: list[int], context: int):
    packed = pack(np.array(documents), context, "concat")
    pieces = packed.pieces(np.arange(packed.windows))
    ended = pieces.start + pieces.length == np.array(documents)[pieces.slot]
    assert np.array_equal(pieces.follows, ended & (pieces.slot < len(documents) - 1))


@given(lengths, contexts, st.sampled_from(["pack", "pad"]))
def test_every_token_but_a_cut_documents_last_is_an_input_once(documents: list[int], context: int, how: str):
    seen: dict[int, list[tuple[int, int]]] = {}
    for window in whole(documents, context, how):
        assert sum(length for *_, length in window) <= context
        if how == "pad":
            assert len(window) == 1
        for slot, start, length in window:
            seen.setdefault(slot, []).append((start, length))
    for slot, pieces in seen.items():
        covered = [start + t for start, length in sorted(pieces) for t in range(length)]
        wanted = documents[slot]
        assert covered in (list(range(wanted)), list(range(wanted - 1)))  # the last token alone would have no target
        assert len(covered) == wanted or (wanted - 1) % context == 0
    assert len(seen) == len(documents)


@given(lengths, contexts)
def test_pack_keeps_documents_whole_and_close_to_their_order(documents: list[int], context: int):
    first: dict[int, int] = {}
    for number, window in enumerate(whole(documents, context, "pack")):
        for slot, start, length in window:
            if documents[slot] <= context:
                assert (start, length) == (0, documents[slot])
            first.setdefault(slot, number)
    opened = -1
    for slot in range(len(documents)):
        assert first[slot] >= opened - OPEN
        opened = max(opened, first[slot])


@given(st.lists(st.integers(1, 16), min_size=1, max_size=400))
def test_pack_is_best_fit_among_the_windows_that_are_open(documents: list[int]):
    """The definition, window by window."""
    free: dict[int, int] = {}
    wanted: list[list[int]] = []
    for slot, length in enumerate(documents):
        fitting = [(room, number) for number, room in free.items() if room >= length]
        if fitting:
            number = min(fitting)[1]
            free[number] -= length
        else:
            if len(free) >= OPEN:
                del free[min(free)]
            number = len(wanted)
            wanted.append([])
            free[number] = 16 - length
        wanted[number].append(slot)
        free = {each: room for each, room in free.items() if room}
    assert [[slot for slot, *_ in window] for window in whole(documents, 16, "pack")] == wanted


def test_pack_wastes_little():
    documents = np.random.default_rng(0).integers(1, 60, 2000)
    packed, padded = pack(documents, 64, "pack"), pack(documents, 64, "pad")
    assert padded.windows == 2000
    assert packed.windows < 0.55 * padded.windows  # no packing can go below 0.48


@given(lengths, contexts, st.sampled_from(["concat", "pack", "pad"]))
def test_random_access_is_the_sequence(documents: list[int], context: int, how: str):
    packed = pack(np.array(documents), context, how)
    everything = whole(documents, context, how)
    for number in {0, packed.windows // 2, packed.windows - 1}:
        pieces = packed.pieces(np.array([number]))
        one = list(zip(pieces.slot.tolist(), pieces.start.tolist(), pieces.length.tolist(), strict=True))
        assert one == everything[number]


def test_count_of_windows():
    assert [concat_windows(tokens, 4) for tokens in (1, 2, 5, 6, 9, 10)] == [1, 1, 1, 2, 2, 3]
