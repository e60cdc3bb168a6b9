from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planned_data import in_memory
from thalweg.data.plan import Order, Phase, Plan, Source, Take, plot_ledger, read_rows
from thalweg.data.plan.ledger import ledger
from thalweg.errors import InputError

SOURCES = {"web": Source("web", score="q"), "mixed": Source("mixed")}


def data() -> dict:
    rng = np.random.default_rng(1)
    return {
        "web": in_memory(rng.integers(1, 20, 100).tolist(), name="web", q=np.append(rng.normal(size=99), np.nan)),
        "mixed": in_memory([10] * 8, offset=10**5, name="mixed", domain=["code", "prose"] * 4),
    }


def order_of(*phases: Phase, **changes) -> Order:
    return Order(Plan(**{"sources": SOURCES, "phases": phases, "context": 5, "block": 16} | changes), data())


@settings(max_examples=20)
@given(
    packing=st.sampled_from(["concat", "pack", "pad"]),
    tokens=st.integers(100, 3000),
    order=st.sampled_from(["uniform", "fold:2"]),
)
def test_what_is_accounted_for_is_what_is_read(packing: str, tokens: int, order: str):
    """Counted window by window from the very token ids."""
    sources = SOURCES | {"mixed": Source("mixed", score="q")}
    given_ = data()
    given_["mixed"] = in_memory([10] * 8, offset=10**5, name="mixed", q=np.arange(8))
    phases = (
        Phase(weights={"web": 0.6, "mixed": 0.4}, tokens=tokens, order=order),
        Phase(take={"web": Take(repeat=2)}),
    )
    made = Order(Plan(sources=sources, phases=phases, context=5, block=16, packing=packing), given_)
    account = ledger(made)
    for stretch, phase in zip(made.stretches, account["phases"], strict=True):
        ids = read_rows(made, np.arange(stretch.first, stretch.first + stretch.windows)).ids
        seen = {"web": ((ids > 0) & (ids < 10**5)).sum(), "mixed": (ids > 10**5).sum()}
        for entry in phase["sources"]:
            # a document's very last token may be a target only: once an epoch, or once a cut document
            epochs = entry["epochs"] * entry["documents"] if packing != "concat" else entry["epochs"]
            assert 0 <= entry["tokens"] - seen[entry["source"]] <= epochs + 1


def test_rows_epochs_and_shares():
    made = order_of(Phase(), Phase(name="best", take={"web": Take(keep_top=0.3, repeat=2)}))
    account = ledger(made)
    first, best = account["phases"]
    assert [entry["rows"] for entry in first["sources"]] == [100, 8]
    assert [entry["epochs"] for entry in first["sources"]] == [1.0, 1.0]
    (entry,) = best["sources"]
    assert (best["name"], entry["documents"], entry["rows"], entry["epochs"]) == ("best", 30, 60, 2.0)
    assert account["sources"]["web"]["unscored"] == 1
    web = account["sources"]["web"]["tokens"]
    assert first["domains"] == pytest.approx(
        {"web": web / (web + 80), "code": 40 / (web + 80), "prose": 40 / (web + 80)}
    )
    deciles = np.array(account["sources"]["web"]["deciles"])
    assert deciles[:, 0].tolist() == [1.0] * 10
    assert deciles[:, 1].tolist() == [2.0] * 3 + [0.0] * 7
    assert account["sources"]["mixed"]["deciles"] == []


def test_domains_are_the_sources_the_columns_or_what_is_told():
    sources = {"web": Source("web", domain="en"), "mixed": Source("mixed", domain="en")}
    assert ledger(order_of(Phase(), sources=sources))["phases"][0]["domains"] == {"en": 1.0}


def test_limits_hold_for_every_phase():
    fine = Phase(weights={"web": 0.5, "mixed": 0.5}, tokens=5 * 16 * 20)
    order_of(fine, limits={"web": (0.4, 0.6)})
    poor = Phase(name="late", weights={"web": 0.9, "mixed": 0.1}, tokens=5 * 16 * 20)
    with pytest.raises(InputError, match=r"late has 9\d\.\d% of its tokens from domain 'web', limits allow 40"):
        order_of(fine, poor, limits={"web": (0.4, 0.6)})


def test_a_limit_on_a_domain_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="limits names domain 'cod': did you mean 'code'"):
        order_of(Phase(), limits={"cod": (0.0, 0.3)})


def test_epochs_are_capped_over_all_phases():
    capped = {"web": Source("web", score="q"), "mixed": Source("mixed", max_epochs=2)}
    twice = [Phase(take={"mixed": Take()})] * 2
    order_of(*twice, sources=capped)
    with pytest.raises(InputError, match=r"sources\.mixed comes 3\.00 times, max_epochs = 2"):
        order_of(*twice, twice[0], sources=capped)


def test_the_picture_has_a_panel_a_scored_source():
    account = ledger(order_of(Phase(), Phase(take={"web": Take(keep_top=0.3)})))
    figure = plot_ledger(account)
    assert [axes.get_title() for axes in figure.axes][:-1] == [f"web ({account['sources']['web']['tokens']:,} tokens)"]
    account["sources"]["web"]["deciles"] = []
    with pytest.raises(InputError, match="no source of the plan names a score"):
        plot_ledger(account)
