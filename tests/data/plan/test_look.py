from __future__ import annotations

import pytest

from thalweg.data import ByteTokenizer, Corpus, Document, open_prepared
from thalweg.data.plan import Order, Phase, Plan, Source
from thalweg.data.plan.look import find_text, look
from thalweg.errors import InputError

CORPUS = tuple(
    Document(f"d{i}", text)
    for i, text in enumerate(["alpha beta\ngamma", "delta needle epsilon", "zeta", "needle at the start"])
)


@pytest.fixture
def order() -> Order:
    source = open_prepared(Corpus("c", CORPUS), tokenizer=ByteTokenizer())
    return Order(Plan(sources={"a": Source("c")}, phases=(Phase(), Phase(name="again")), context=8), {"a": source})


def test_a_batch_shows_its_very_documents(order: Order):
    found = look(order, 1, batch=4)
    assert {each["window"] for each in found} == {4, 5, 6, 7}
    text = {each.name: each.text.encode() + b"\0" for each in CORPUS}
    for each in found:
        stretch = text[each["id"]][each["start"] : each["start"] + each["tokens"]]
        assert each["text"] == " ".join(stretch.decode().split())
    assert {each["phase"] for each in found} <= {"phase 1", "again"}


def test_a_text_is_found_in_every_batch_that_has_its_document(order: Order):
    found = {each["id"]: each for each in find_text(order, "needle", batch=2)}
    assert set(found) == {"d1", "d3"}
    for name, each in found.items():
        steps = {step for step in range(len(order) // 2) for piece in look(order, step, batch=2) if piece["id"] == name}
        assert set(each["steps"]) - {len(order) // 2} == steps
    assert find_text(order, "nowhere", batch=2) == []
    assert [each["id"] for each in find_text(order, "d2", batch=2)] == ["d2"]


def test_a_step_beyond_the_plan_is_refused(order: Order):
    with pytest.raises(InputError, match=r"step 99 is beyond the plan: \d+ windows"):
        look(order, 99, batch=4)
