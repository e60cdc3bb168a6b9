"""The planner's pages: an address is a plan, uploads become laws, what cannot be planned is said in a sentence."""

from __future__ import annotations

import json
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from thalweg.laws import ChinchillaSize, MultiPower, ReuseLaw
from thalweg.laws.budget import Budget, Constraints, plan_run
from thalweg.web.site.app import build_app
from thalweg.web.site.settings import Settings

OWN = "http://127.0.0.1:8765"
PART = {"hx-request": "true"}
LAW = ChinchillaSize(1.5, 300.0, 0.33, 900.0, 0.3)
CURVE = MultiPower(
    params={"L0": 2.5, "A": 0.65, "alpha": 0.43, "B": 520.0, "C": 2.0, "beta": 0.6, "gamma": 0.64}
    | {"warmup_share": 1.0, "rate_power": 1.0}
)


@pytest.fixture
def client(tmp_path):
    return TestClient(build_app(Settings(tmp_path, 8765)), base_url=OWN)


def upload(client, name, text, query=""):
    data = text if isinstance(text, bytes) else text.encode()
    files = {"file": (name, data)}
    return client.post(f"/planner/law?{query}", files=files, headers={"origin": OWN}, follow_redirects=False)


def test_the_page_has_the_form_the_plan_and_its_sources(client):
    text = client.get("/planner").text
    assert "published laws alone" in text
    for source in ("arXiv 2404.10102", "arXiv 2503.04715"):
        assert source in text
    assert "Fitted to 57.3M to 16.2B parameters" in text
    labels = re.findall(r"<label[^>]*>", text)
    assert len(labels) == len(re.findall(r'<(?:input(?! type="hidden")|select)', text))
    assert 'role="img"' in text
    assert " style=" not in text


def test_the_part_is_the_answer_alone(client):
    text = client.get("/planner?amount=3e20", headers=PART).text
    assert "<form" in text  # the upload's, whose address carries the state
    assert "amount=3e20" in text
    assert "<html" not in text
    assert 'name="amount"' not in text


def test_what_the_page_says_is_the_plan(client):
    query = "amount=100&unit=hours&gpu=h100&mfu=35&price=2&unique=2B&params=1B&context=1024"
    found = client.get(f"/planner/plan.json?{query}").json()
    budget = Budget.of(gpu_hours=100, device="h100", mfu=0.35, price=2.0)
    wanted = plan_run(budget, Constraints(params=1e9), unique=2e9, context=1024)
    for name in ("params", "tokens", "steps", "batch", "schedule", "epochs", "gpu_hours", "cost"):
        assert found[name] == getattr(wanted, name)
    assert found["loss"]["value"] == wanted.loss.value
    text = client.get(f"/planner?{query}").text
    for words in (f"{wanted.loss.value:.3f} nats/token", f"{wanted.steps:,}", str(wanted.schedule)):
        assert words in text


def test_the_recipe_is_toml(client):
    answer = client.get("/planner/recipe.toml?amount=1e17&schedule=wsd")
    assert "attachment" in answer.headers["content-disposition"]
    recipe = tomllib.loads(answer.text)
    found = client.get("/planner/plan.json?amount=1e17&schedule=wsd").json()
    assert {name: recipe[name] for name in ("steps", "schedule", "batch")} == {
        name: found[name] for name in ("steps", "schedule", "batch")
    }
    assert recipe["schedule"].startswith("wsd:")


def test_tokens_and_size_without_a_budget(client):
    found = client.get("/planner/plan.json?amount=&params=1B&tokens=20B").json()
    assert found["flops"] == pytest.approx(1.2e20, rel=1e-3)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("amount=much", "the budget is"),
        ("amount=-1", "the budget is"),
        ("amount=nan", "the budget is"),
        ("amount=", "there is no budget"),
        ("unit=weeks", "the unit is"),
        ("gpu=abacus", "is unknown"),
        ("unit=hours&gpu=", "name one of"),
        ("mfu=140", "mfu is 1.4"),
        ("params=1B&tokens=1B", "leave one out"),
        ("params=1B&overtrain=2", "leave one out"),
        ("epochs=3", "unique tokens"),
        ("context=1.5", "whole number"),
        ("schedule=designed", "fitted curve law"),
        ("schedule=zigzag", "give one of cosine, wsd, designed"),
        ("published=kaplan", "besiroglu, hoffmann"),
        ("law=../../etc/passwd", "not here any more"),
        ("law=" + "0" * 32, "not here any more"),
    ],
)
def test_what_cannot_be_planned_is_said_and_the_form_stays(client, query, said):
    answer = client.get(f"/planner?{query}")
    assert answer.status_code == 400
    assert said in answer.text
    assert 'name="amount"' in answer.text
    assert client.get(f"/planner?{query}", headers=PART).status_code == 400
    assert client.get(f"/planner/plan.json?{query}").status_code == 400


def test_what_is_typed_is_escaped(client):
    text = client.get("/planner?amount=<script>alert(1)</script>&law=<b>x</b>").text
    assert "<script>alert" not in text
    assert "<b>x" not in text


def test_a_law_is_used_named_and_removed(client):
    answer = upload(client, "law.json", LAW.to_json(), "amount=2e20")
    assert answer.status_code == 303
    where = answer.headers["location"]
    assert "amount=2e20" in where
    text = client.get(where).text
    assert "own law of size and data (law.json)" in text
    assert "published laws alone" not in text
    found = client.get(where.replace("/planner?", "/planner/plan.json?")).json()
    assert found["params"] == pytest.approx(LAW.best_split(2e20)[0])
    without = re.search(r'<a href="([^"]+)">remove</a>', text)[1].replace("&amp;", "&")
    assert "law=" not in without
    assert "published laws alone" in client.get(without).text


def test_laws_of_other_kinds_join_and_two_of_one_do_not(client):
    one = upload(client, "law.json", LAW.to_json()).headers["location"].split("?")[1]
    two = upload(client, "reuse.json", ReuseLaw().to_json(), one).headers["location"].split("?")[1]
    assert client.get(f"/planner?{two}&unique=1B").status_code == 200
    other = ChinchillaSize(1.4, 300.0, 0.33, 900.0, 0.3)
    refused = upload(client, "other.json", other.to_json(), two)
    assert refused.status_code == 400
    assert "two laws of the kind" in refused.text
    again = upload(client, "law.json", LAW.to_json(), two)
    assert again.headers["location"].count("law=") == 2


def test_a_table_of_best_values(client):
    table = "params,tokens,lr,batch\n1e8,2e9,4e-3,64\n1e8,8e9,5e-3,128\n4e8,8e9,2e-3,128\n9e8,3e10,1e-3,256\n"
    text = client.get(upload(client, "best.csv", table).headers["location"]).text
    assert "own table of best values" in text


def test_a_law_of_curves_opens_in_the_designer(client):
    where = upload(client, "curves.json", CURVE.to_json(), "amount=3e17&schedule=designed").headers["location"]
    text = client.get(where).text
    assert "the plan</small>" in text[text.index("Schedule</b>") :]
    link = re.search(r'href="(/designer\?[^"]+)"', text)[1].replace("&amp;", "&")
    assert client.get(link).status_code == 200


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("law.json", b"", "no file is chosen"),
        ("law.json", b"\xff\xfe\x00", "not text"),
        ("law.json", b'{"law": \n oops}', "line 2, column 2"),
        ("law.json", b"[]", "no law"),
        ("law.json", b'{"law": "cubic"}', "cannot use"),
        ("law.json", b"{}" + b" " * (33 * 2**20), "33 MiB"),
        ("runs.csv", b"params,loss\n1,2\n", "no column"),
        ("runs.csv", b"params,tokens,loss\n1,2,x\n", "line 2"),
        ("runs.csv", b"params,tokens,loss\n1,2,3\n", "at least 6 runs"),
        ("../../law.json", json.dumps({"law": "configuration", "format": 99}).encode(), "law.json"),
    ],
)
def test_uploads_that_are_no_law_leave_the_plan_as_it_was(client, name, content, said):
    answer = upload(client, name, content, "amount=7e19")
    assert answer.status_code == 400
    assert said in answer.text
    assert 'value="7e19"' in answer.text
    assert "nats/token" in answer.text
    assert "../" not in answer.text


def test_a_foreign_page_cannot_upload(client):
    answer = client.post("/planner/law", files={"file": ("law.json", b"{}")}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403


def test_many_at_once_get_their_own_plan(client):
    budgets = [f"{k}e19" for k in range(1, 17)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: client.get(f"/planner/plan.json?amount={text}").json()["flops"], budgets))
    assert found == pytest.approx([float(text) for text in budgets], rel=0.01)


@pytest.mark.parametrize(
    "query",
    [
        "amount=1000",
        "amount=1e30",
        "unique=1",
        "unique=1e15&epochs=0.001",
        "params=1e15",
        "tokens=1",
        "overtrain=1000000",
        "overtrain=0.001&unique=1k",
        "published=hoffmann&unique=3B",
        "context=100000000",
        "amount=1e-300",
        "amount=1e300",
    ],
)
def test_extremes_draw_finite_pictures_or_are_refused(client, query):
    answer = client.get(f"/planner?{query}")
    assert answer.status_code in (200, 400)
    drawn = "".join(re.findall(r"<svg.*?</svg>", answer.text, flags=re.DOTALL))
    assert not re.search(r"\b(nan|inf)\b", drawn)
    assert client.get(f"/planner/plan.json?{query}").status_code == answer.status_code
