from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.plan import Phase, Plan, Source, Take, load_plan
from thalweg.errors import InputError

shares = st.floats(0.01, 1)
takes = st.builds(Take, keep_top=shares, sample=shares, repeat=st.one_of(st.floats(0, 30), st.just("duplicates")))
phases = st.one_of(
    st.builds(
        Phase,
        name=st.text(max_size=4),
        take=st.dictionaries(st.sampled_from(["a", "b"]), takes),
        order=st.sampled_from(["uniform", "ascend", "descend", "fold:3", "interleave", "bucket:12"]),
        perturb=st.floats(0, 10),
        mix=st.integers(0, 9999),
        tokens=st.integers(0, 10**9),
    ),
    st.builds(
        lambda w, tokens: Phase(weights={"a": w, "b": 1 - w}, end_weights={"a": 1.0}, tokens=tokens),
        st.floats(0, 1),
        st.integers(1, 10**9),
    ),
)
plans = st.builds(
    Plan,
    sources=st.fixed_dictionaries(
        {
            "a": st.builds(Source, path=st.text(max_size=5), score=st.just("q"), max_epochs=st.floats(0, 9)),
            "b": st.builds(Source, path=st.just("b"), domain=st.text(max_size=3), dtype=st.just("uint16")),
        }
    ),
    phases=st.lists(phases, min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 2**61),
    context=st.integers(2, 4096),
    packing=st.sampled_from(["concat", "pack", "pad"]),
    doc_mask=st.booleans(),
    block=st.integers(1, 1024),
    limits=st.just({"en": (0.25, 1.0)}),
    skip=st.lists(st.integers(0, 99)).map(tuple),
)


@given(plans)
def test_plans_round_trip_through_toml(plan: Plan):
    assert Plan.from_dict(tomllib.loads(plan.to_toml())) == plan


def test_a_file_reads_paths_beside_itself(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "shard.json").touch()
    lines = [
        "[sources.a]",
        "path = 'web'",
        "[sources.b]",
        "path = 'stdlib'",
        "[sources.c]",
        "path = 'shard'",
        "[[phases]]",
    ]
    (tmp_path / "p.toml").write_text("\n".join(lines))
    found = load_plan(tmp_path / "p.toml").sources
    assert [found[name].path for name in "abc"] == [str(tmp_path / "web"), "stdlib", str(tmp_path / "shard")]


GOOD = {"sources": {"a": {"path": "a", "score": "q"}, "b": {"path": "b"}}, "phases": [{}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packng": "pad"}, "unknown key 'packng': did you mean 'packing'"),
        ({"phases": [{}, {"ordr": "ascend"}]}, r"unknown key 'phases\[1\].ordr': did you mean 'order'"),
        ({"phases": [{"take": {"a": {"keep_tpo": 0.5}}}]}, r"'phases\[0\].take.a.keep_tpo': did you mean 'keep_top'"),
        ({"sources": {"a": {"pth": "x"}}}, "unknown key 'sources.a.pth': did you mean 'path'"),
        ({"sources": {"a": {}}}, "sources.*missing required field `path`"),
        ({"sources": {}}, "needs sources"),
        ({"phases": []}, "needs phases"),
        ({"phases": [{"weights": {"a": 0.5, "b": 0.4}, "tokens": 9}]}, "weights sum to 0.9, not 1"),
        ({"phases": [{"weights": {"a": 1.0}, "end_weights": {"b": 1.1}, "tokens": 9}]}, "end_weights.b = 1.1 must"),
        ({"phases": [{"weights": {"a": 1.5, "b": -0.5}, "tokens": 9}]}, "weights.a = 1.5 must be a finite number"),
        ({"phases": [{"weights": {"a": 1.0}}]}, "a phase with weights has no end: give its tokens"),
        ({"phases": [{"end_weights": {"a": 1.0}}]}, "end_weights are given without weights"),
        ({"phases": [{"weights": {"c": 1.0}, "tokens": 9}]}, r"phases\[0\] names source 'c': known: a, b"),
        ({"phases": [{"weights": {"a": 1.0}, "tokens": 9, "take": {"b": {}}}]}, "take names 'b', which weights do not"),
        ({"phases": [{"weights": {"a": 1.0}, "tokens": 9, "order": "interleave"}]}, "needs a phase without weights"),
        ({"phases": [{"order": "up"}]}, "order = 'up' is not known"),
        ({"phases": [{"order": "fold:0"}]}, "order = 'fold:0' is not known"),
        ({"phases": [{"tokens": -1}]}, "tokens = -1"),
        ({"phases": [{"mix": -1}]}, "mix = -1"),
        ({"phases": [{"perturb": -1.0}]}, "perturb = -1.0"),
        ({"phases": [{"take": {"a": {"keep_top": 0.0}}}]}, r"keep_top = 0.0 must lie in \(0, 1\]"),
        (
            {"phases": [{"take": {"a": {"quantile": [0.5, 0.4]}}}]},
            r"^phases\[0\]\.take\S*: quantile = \[0.5, 0.4\] must",
        ),
        ({"phases": [{"take": {"a": {"quantile": [0.5, 0.6], "keep_top": 0.5}}}]}, "exclude each other"),
        ({"phases": [{"take": {"a": {"repeat": -0.5}}}]}, "repeat = -0.5"),
        ({"phases": [{"take": {"a": {"repeat": "often"}}}]}, "often"),
        ({"limits": {"en": [0.5, 0.2]}}, r"limits.en = \[0.5, 0.2\]"),
        ({"packing": "bins"}, "packing"),
        ({"context": 1}, "context = 1 must be a whole number of at least 2"),
        ({"seed": -1}, "seed = -1"),
        ({"skip": [-1]}, "skip"),
        ({"seed": 2**70}, "seed = 1180591620717411303424 must be"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_sentence(change: dict, message: str):
    assert Plan.from_dict(GOOD)
    with pytest.raises(InputError, match=message):
        Plan.from_dict(GOOD | change)


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("[sources", "is not TOML"), ("x = 1", "key 'x'")]
)
def test_files_that_are_no_plans(tmp_path, text: str | None, message: str):
    if text is not None:
        (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_plan(tmp_path / "p.toml")
