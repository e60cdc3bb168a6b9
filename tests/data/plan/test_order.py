"""The six claims of the data core, on plans made concrete."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planned_data import in_memory
from thalweg.data.plan import Order, Phase, Plan, Source, Take
from thalweg.data.plan.rows import pieces_of
from thalweg.errors import InputError

SOURCES = {"web": Source("web", score="quality"), "math": Source("math", score="quality"), "wiki": Source("wiki")}


MIXED = [
    5016, 4026, 101, 1113, 3253, 583, 2511, 2022, 559, 3210, 2196, 4741, 160, 5063, 1443, 1717, 364, 380, 4014, 1986,
    2312, 3356, 4689, 4824, 5229, 2598, 2882, 2636, 164, 3908, 1374, 4095, 3214, 5002, 1955, 325, 3917, 3798, 3900,
    2717, 246, 5168, 2714, 3247, 379, 760, 1936, 4279, 1161, 3383, 83, 2798, 4781, 2852, 1351, 3362, 3339, 2533, 3178,
    3784, 255, 4646, 2211, 2171, 865, 4130, 2120, 2034, 4008, 3596, 2876, 1459, 3643, 2669, 1064, 1930, 4407, 4082,
    2929, 5165, 1597, 1898, 108, 3351, 871, 599, 2027, 329, 367, 3255, 1030, 2839, 3201, 2221, 3390, 3471, 1070, 2843,
    3874, 3765,
]  # fmt: skip
UNIFORM = [
    771, 4706, 5136, 1651, 1674, 4838, 4886, 3583, 1046, 2432, 566, 3498, 2145, 847, 2111, 5201, 2687, 2246, 4733,
    3870, 296, 1318, 3718, 4755, 4497, 4454, 4551, 3190, 4518, 1509, 1919, 2835, 4395, 3980, 3559, 2648, 1670, 2582,
    2832, 4185, 958, 1505, 3923, 2217, 4058, 3300, 1081, 78, 1382, 373, 4815, 4926, 4094, 3842, 1204, 1975, 3736,
    2634, 176, 1245, 1061, 4239, 2679, 3451, 3131, 863, 2681, 2656, 2278, 3645, 4491, 2785, 3380, 5044, 1083, 2672,
    2771, 44, 3271, 589, 3939, 362, 4616, 3664, 2453, 1996, 2809, 1951, 4226, 2499, 4502, 3576, 757, 1603, 3361, 25,
    28, 2116, 5017, 3499,
]  # fmt: skip


def data(web: int = 5000, math: int = 300, wiki: int = 7, length: int = 8) -> dict:
    rng = np.random.default_rng(0)
    return {
        "web": in_memory([length] * web, name="web", quality=rng.normal(size=web)),
        "math": in_memory([length] * math, name="math", offset=10**6, quality=rng.normal(size=math)),
        "wiki": in_memory([length] * wiki, name="wiki", offset=2 * 10**6),
    }


def plan(*phases: Phase, **changes) -> Plan:
    return Plan(**{"sources": SOURCES, "phases": phases, "context": 8, "packing": "pad", **changes})


def documents(order: Order, numbers: np.ndarray | None = None) -> np.ndarray:
    """The document of each window, where a window holds one."""
    asked = np.arange(order.total) if numbers is None else numbers
    return pieces_of(order, asked).document


WEIGHTED = (
    Phase(weights={"web": 0.9, "math": 0.095, "wiki": 0.005}, take={"math": Take(keep_top=0.5)}, tokens=4096 * 8),
    Phase(weights={"web": 0.5, "math": 0.5}, take={"math": Take(keep_top=0.5)}, tokens=4096 * 8),
)


def test_the_check_of_the_specification():
    """3 sources of 5000, 150 (the better half of 300) and 7 documents, weights that change at window 4096."""
    sources = data()
    order = Order(plan(*WEIGHTED), sources)
    seen = documents(order)
    owner = order.library.owners[seen]
    assert np.bincount(owner[:4096]).tolist() == [3687, 389, 20]
    assert np.bincount(owner[4096:]).tolist() == [2048, 2048]
    math = seen[owner == 1]
    times = np.unique(math, return_counts=True)[1]
    assert (len(times), sorted(set(times.tolist()))) == (150, [16, 17])
    for epoch in range(16):
        assert len(set(math[150 * epoch : 150 * epoch + 150].tolist())) == 150  # claim 2: once until the epoch ends
    kept = set((math - 5000).tolist())
    quality = sources["math"].columns["quality"]
    assert kept == set(np.argsort(quality)[150:].tolist())
    assert not np.array_equal(math[:150], math[150:300])  # and the next is another permutation
    web = seen[owner == 0]
    assert len(set(web[:5000].tolist())) == 5000


@settings(max_examples=30)
@given(packing=st.sampled_from(["concat", "pack", "pad"]), seed=st.integers(0, 5), data_=st.data())
def test_random_access_is_the_sequence(packing: str, seed: int, data_):
    order = Order(
        plan(*WEIGHTED, Phase(order="interleave"), packing=packing, seed=seed, block=64), data(300, 90, 5, 11)
    )
    asked = np.array(data_.draw(st.lists(st.integers(0, order.total - 1), min_size=1, max_size=12)))
    some = pieces_of(order, asked)
    for row, number in enumerate(asked.tolist()):
        mine = some.row == row
        one = pieces_of(order, np.array([number]))
        assert all(np.array_equal(a[mine], b) for a, b in zip(some[1:], one[1:], strict=True))


@pytest.mark.parametrize("packing", ["concat", "pad"])
@pytest.mark.parametrize(("order", "sign"), [("ascend", 1), ("descend", -1)])
def test_sorted_sources_are_delivered_in_order_of_their_score(order: str, sign: int, packing: str):
    made = Order(plan(Phase(order=order, take={"web": Take(), "math": Take()}), packing=packing), data(400, 100))
    scores = made.library.all_scores(documents(made))
    assert (sign * np.diff(scores) >= 0).all()


def test_a_sorted_source_stays_sorted_within_a_mixture():
    weights = {"web": 0.7, "math": 0.3}
    made = Order(plan(Phase(weights=weights, order="ascend", tokens=64 * 512), block=64), data(5000, 2000))
    seen = documents(made)
    for place in (0, 1):
        mine = seen[made.library.owners[seen] == place]
        assert (np.diff(made.library.all_scores(mine)) >= 0).all()


def test_fold_sorts_within_each_part():
    made = Order(plan(Phase(order="fold:4", take={"web": Take()})), data(400))
    falls = np.flatnonzero(np.diff(made.library.all_scores(documents(made))) < 0)
    assert falls.tolist() == [99, 199, 299]


def test_mixing_shuffles_neighbours_only():
    take = {"web": Take()}
    straight, mixed = (Order(plan(Phase(order="ascend", take=take, mix=mix)), data(410)) for mix in (0, 50))
    one, other = documents(straight), documents(mixed)
    for first in range(0, 410, 50):
        group = slice(first, first + 50)
        assert set(one[group]) == set(other[group])
        assert not np.array_equal(one[group], other[group])
    assert np.array_equal(documents(mixed, np.array([57, 3, 409])), other[[57, 3, 409]])


PAIRS = [("web", "en"), ("math", "math")]


def test_interleaving_goes_over_domains_of_all_sources():
    sources = {name: Source(name, score="quality", domain=domain) for name, domain in PAIRS}
    plan = Plan(sources=sources, phases=(Phase(order="interleave"),), context=8, packing="pad")
    made = Order(plan, data(300, 100))
    made_of = made.library.owners[documents(made)]
    assert (np.abs(np.cumsum(made_of == 1) - 0.25 * np.arange(1, 401)) <= 1).all()


def test_buckets_draw_from_every_source():
    take = {"web": Take(), "math": Take()}
    made = Order(plan(Phase(order="bucket:10", take=take)), data(300, 100))
    owner = made.library.owners[documents(made)]
    assert [int((owner[40 * k : 40 * k + 40] == 1).sum()) for k in range(10)] == [10] * 10


def test_repetition_across_phases_is_nested():
    """Keep shares 1, .5, .3, .1 in four phases: the best tenth is seen four times, as in 2512.07612."""
    phases = [Phase(take={"web": Take(keep_top=share)}) for share in (1.0, 0.5, 0.3, 0.1)]
    sources = data(1000)
    seen = np.bincount(documents(Order(plan(*phases), sources)), minlength=1000)[:1000]
    ranked = np.argsort(-sources["web"].columns["quality"])
    assert seen[ranked].tolist() == [4] * 100 + [3] * 200 + [2] * 200 + [1] * 500


@pytest.mark.parametrize(("repeat", "least", "most"), [(2, 2, 2), (2.5, 2, 3), (0.25, 0, 1)])
def test_documents_come_as_often_as_they_repeat(repeat: float, least: int, most: int):
    made = Order(plan(Phase(take={"web": Take(repeat=repeat)})), data(4000))
    seen = np.bincount(documents(made), minlength=4000)[:4000]
    assert (seen.min(), seen.max()) == (least, most)
    share = repeat % 1
    assert abs(seen.mean() - repeat) <= 5 * np.sqrt(share * (1 - share) / 4000)


def test_the_same_documents_are_thinned_whatever_the_order():
    """A budget of tokens must not decide by the order which documents are left out."""
    found = [
        set(documents(Order(plan(Phase(order=how, take={"web": Take()}, tokens=8 * 100)), data(400))).tolist())
        for how in ("uniform", "ascend", "descend")
    ]
    assert len(found[0]) == 100
    assert found[0] == found[1] == found[2]


def test_weights_that_ramp_end_at_the_last_ones():
    ramped = Phase(weights={"web": 1.0, "math": 0.0}, end_weights={"web": 0.0, "math": 1.0}, tokens=8 * 8 * 640)
    made = Order(plan(ramped, block=8), data())
    owner = made.library.owners[documents(made)]
    shares = [(owner[512 * k : 512 * k + 512] == 1).mean() for k in range(10)]
    assert shares == pytest.approx([0.05 + 0.1 * k for k in range(10)], abs=1 / 512)


def test_skipped_windows_are_left_out_and_nothing_else_changes():
    sources = data(60)
    whole, short = (Order(plan(Phase(), skip=skip), sources) for skip in ((), (3, 4, 70, 3, 9999)))
    assert len(short) == len(whole) - 3
    kept = [number for number in range(whole.total) if number not in (3, 4, 70)]
    assert short.numbers(np.arange(len(short))).tolist() == kept
    assert short.fingerprint == whole.fingerprint


CHANGES = [
    {"seed": 1},
    {"context": 9},
    {"packing": "concat"},
    {"block": 64},
    {"doc_mask": True},
    {"phases": (Phase(weights={"web": 0.5, "math": 0.5}, tokens=8000),)},
]


@pytest.mark.parametrize("change", CHANGES, ids=[next(iter(each)) for each in CHANGES])
def test_every_change_of_the_plan_changes_the_fingerprint(change: dict):
    sources, first = data(50, 30), plan(Phase(weights={"web": 0.4, "math": 0.6}, tokens=8000))
    assert Order(first.replace(**change), sources).fingerprint != Order(first, sources).fingerprint


def test_the_fingerprint_is_pinned_for_all_time():
    """A version that knows more entries must still resume plans that do not use them."""
    first = plan(*WEIGHTED, Phase(order="fold:3", take={"web": Take(repeat=1.5)}), seed=2)
    assert Order(first, data(50, 30)).fingerprint == "bf63850e522a60ec9adb9b1c5c0e4afc0ed98f7c286f9555d53fda4f04919ad6"


def test_names_and_paths_do_not_change_the_fingerprint_but_the_files_do():
    first = plan(Phase(name="a"))
    moved = first.replace(phases=(Phase(name="b"),), sources=SOURCES | {"web": Source("elsewhere", score="quality")})
    assert Order(moved, data()).fingerprint == Order(first, data()).fingerprint
    assert Order(first, data(web=4999)).fingerprint != Order(first, data()).fingerprint


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plan(Phase(take={"web": Take()}, tokens=10**6)), r"phase 1 asks for 1,000,000 tokens but .* 40,000"),
        (lambda: plan(Phase(order="ascend")), "phase 1 has order 'ascend' but sources.wiki names no score"),
        (lambda: plan(Phase(take={"wiki": Take(keep_top=0.5)})), "phase 1, source 'wiki': keep_top and quantile need"),
        (lambda: plan(Phase(take={"web": Take(repeat="duplicates")})), "needs a column duplicates"),
        (lambda: plan(Phase(take={"web": Take(repeat=0)})), "takes no document"),
        (lambda: plan(Phase(), sources=SOURCES | {"web": Source("w", score="qualty")}), "'qualty' is no column of num"),
        (lambda: plan(Phase(), limits={"math": (0.5, 1.0)}), r"phase 1 has 5\.7% of its tokens from domain 'math'"),
        (
            lambda: plan(*WEIGHTED, sources=SOURCES | {"math": Source("m", score="quality", max_epochs=4)}),
            r"sources\.math comes 16\.25 times, max_epochs = 4",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(make, message: str):
    with pytest.raises(InputError, match=message):
        Order(make(), data())


def test_an_id_that_comes_twice_is_refused():
    twice = in_memory([4, 4, 4], id=np.array(["a", "b", "a"]))
    with pytest.raises(InputError, match=r"sources\.web has a as id of 2 documents"):
        Order(Plan(sources={"web": Source("w")}, phases=(Phase(),)), {"web": twice})


def test_sources_of_two_tokenizers_are_refused():
    other = in_memory([4])
    object.__setattr__(other, "tokenizer", "bytes")
    sources = {"a": in_memory([4]), "b": other}
    with pytest.raises(InputError, match="come from different tokenizers"):
        Order(Plan(sources={"a": Source("a"), "b": Source("b")}, phases=(Phase(),)), sources)


def test_an_order_travels_to_another_process():
    order = Order(plan(*WEIGHTED), data(50, 30))
    again = pickle.loads(pickle.dumps(order))
    assert again.fingerprint == order.fingerprint
    assert np.array_equal(documents(again), documents(order))


def test_the_first_hundred_windows_are_pinned_for_all_time():
    """Runs that were interrupted under an older version must go on in the same order."""
    mixed = Order(plan(*WEIGHTED, packing="concat", seed=3), data())
    uniform = Order(plan(Phase(), packing="pack", seed=3, context=32), data())
    assert pieces_of(mixed, np.arange(100)).document.tolist() == MIXED
    assert pieces_of(uniform, np.arange(25)).document.tolist() == UNIFORM
