"""The designer's pages without a browser: from curves to a law, edits as addresses, refusals that lose nothing."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from designer_client import EXAMPLES, PART, POST, client, example_law, problem, upload_law
from thalweg.laws import design
from thalweg.schedules import parse

CSV = (EXAMPLES / "curves.csv").read_text()
TOML = (EXAMPLES / "schedules.toml").read_text()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return client(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def law(pages):
    return upload_law(pages)


def query(address: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlparse(address).query).items()}


def state(law: str, **more) -> dict:
    base = {"law": law, "steps": 5000, "peak": 2e-3, "floor": 2e-4, "warmup": 100}
    return base | {"schedule": "wsd:peak=2e-3,warmup=100,decay=0.2,floor=2e-4"} | more


def waited(pages, address: str) -> str:
    """Where a fit's page leads once it is done."""
    for _ in range(200):
        answer = pages.get(address)
        if answer.status_code == 303:
            return answer.headers["location"]
        assert "problem" not in answer.text, problem(answer.text)
        time.sleep(0.1)
    raise AssertionError("the fit does not end")


def test_curves_are_fitted_and_lead_to_the_designer(pages):
    files = [("curves", ("mine.csv", CSV)), ("schedules", ("mine.toml", TOML))]
    answer = pages.post("/designer/curves", files=files, headers=POST)
    assert answer.status_code == 303
    chosen = pages.get(answer.headers["location"])
    assert "3 curves from mine.csv" in chosen.text
    assert chosen.text.count("checked") == 3
    order = {"curves": query(answer.headers["location"])["curves"], "law": "momentum"}
    order |= {"train": ["pilot-constant", "pilot-two-stage"]}
    answer = pages.post("/designer/fit", data=order, headers=POST)
    progress = pages.get(answer.headers["location"])
    assert progress.status_code in (200, 303)
    address = waited(pages, answer.headers["location"])
    assert query(address)["steps"] == "5000"
    assert query(address)["warmup"] == "100"
    page = pages.get(address + "&panel=law").text
    assert "momentum" in page
    assert re.search(r"pilot-cosine</th>\s*<td[^>]*>not fitted", page)
    assert page.count(">fitted</td>") == 2
    saved = pages.get(f"/designer/law.json?law={query(address)['law']}")
    assert json.loads(saved.text)["law"] == "momentum"


def test_pasted_text_is_taken(pages):
    given = {"pasted": CSV, "schedules_text": TOML, "kept": ""}
    answer = pages.post("/designer/curves", data=given, files={"x": b""}, headers=POST)
    assert answer.status_code == 303


@pytest.mark.parametrize(
    ("curves", "says"),
    [
        ("a,b\n1,2\n", "mine.csv has no column 'step'"),
        ("step,lr\n1,2\n", "mine.csv has no column 'loss'"),
        ("step,loss,lr\n0,3,1e-3\n1,x,1e-3\n", "mine.csv line 3: loss is 'x', which is no number"),
        ("step,loss,lr\n0,3,1e-3\n1,nan,1e-3\n", "nan"),
        ("step,loss,lr\n0,3,1e-3\n5,2,1e-3\n5,2,1e-3\n", "step 5 follows step 5"),
        ("step,loss,lr\n0,3,1e-3\n1\n", "line 3 has 1 cells"),
        ("step,loss,lr\n0,3,1e-3\n1,2,\n", "2 losses but 1 learning rates"),
        ("step,loss\n0,3\n1,2\n", "has no learning rates"),
        ("step,loss,lr\n0,3,1e-3\n1e9,2,1e-3\n", "the designer takes up to 2,000,000"),
        ("", "are empty"),
        (b"\xff\xfe\x00", "mine.csv is not text"),
        ("step,loss,lr\n0,3,1e-3\nhello", "line 3 has 1 cells"),
    ],
)
def test_bad_curves_are_refused_in_one_sentence_and_kept(pages, curves, says):
    typed = {"schedules_text": "x <&> y" if isinstance(curves, bytes) else "", "pasted": "what I typed <b>"}
    answer = pages.post("/designer/curves", data=typed, files=[("curves", ("mine.csv", curves))], headers=POST)
    assert answer.status_code == 400
    assert says in problem(answer.text)
    assert "what I typed &lt;b&gt;</textarea>" in answer.text
    if isinstance(curves, str):
        assert "mine.csv is kept" in answer.text
        assert 'name="kept" value="' in answer.text


def test_a_kept_file_is_used_when_only_the_schedules_are_mended(pages):
    rows = [line.split(",") for line in CSV.splitlines()[1:]]
    names = "step,loss,name\n" + "".join(f"{step},{loss},{name}\n" for name, step, _, loss in rows)
    typed = {"schedules_text": TOML.replace("cosine:peak", "cosinus:peak")}
    answer = pages.post("/designer/curves", data=typed, files=[("curves", ("mine.csv", names))], headers=POST)
    assert "schedule 'cosinus' is not known" in problem(answer.text)
    kept = re.search(r'name="kept" value="(\w+)"', answer.text)[1]
    again = {"kept": kept, "schedules_text": TOML}
    answer = pages.post("/designer/curves", data=again, files={"x": b""}, headers=POST)
    assert answer.status_code == 303


def test_schedules_that_name_files_of_the_server_are_refused(pages):
    bad = TOML.replace('"cosine:peak=2e-3,warmup=100,floor=2e-4"', '"array:path=/etc/passwd"')
    files = [("curves", ("mine.csv", CSV)), ("schedules", ("mine.toml", bad))]
    answer = pages.post("/designer/curves", files=files, headers=POST)
    assert "names a file" in problem(answer.text)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"law": 3}', '{"format": 1, "law": "x", "params": {}}'])
def test_bad_laws_are_refused(pages, content):
    answer = pages.post("/designer/law", files={"law": ("law.json", content)}, headers=POST)
    assert answer.status_code == 400
    assert problem(answer.text).count(".") <= 3


def test_too_few_points_are_said_by_the_fit(pages):
    text = "step,lr,loss\n" + "".join(f"{k},1e-3,{3 - 0.1 * k}\n" for k in range(5))
    answer = pages.post("/designer/curves", files=[("curves", ("few.csv", text))], headers=POST)
    name = query(answer.headers["location"])["curves"]
    answer = pages.post("/designer/fit", data={"curves": name, "all": "1"}, headers=POST)
    for _ in range(100):
        page = pages.get(answer.headers["location"]).text
        if said := problem(page):
            break
        time.sleep(0.05)
    assert "5 losses after warmup in 'few'" in said
    assert "Choose other curves" in page


def test_the_page_says_what_the_law_says(pages, law):
    page = pages.get("/designer", params=state(law)).text
    schedule = parse(state(law)["schedule"])
    trust = example_law().trust(schedule, 5000)
    assert f"{trust.final_loss:.4f}</span>" in page
    assert f"{trust.interval[0]:.4f} to {trust.interval[1]:.4f}" in page
    best = design(example_law(), steps=5000, peak=2e-3, warmup=100, floor=2e-4)
    assert f"optimum {best.final_loss:.4f}" in page


@pytest.mark.parametrize(
    ("edit", "schedule"),
    [
        ({"how": "text", "e.spec": "cosine:peak=1e-3"}, "cosine:peak=0.001"),
        ({"how": "form", "e.family": "wsd", "e.peak": "1e-3", "e.decay": "0.3"}, "wsd:peak=0.001,decay=0.3"),
        ({"how": "family", "e.family": "linear"}, "linear:peak=0.002,warmup=100,floor=0.0002"),
        (
            {"how": "points", "e.at": [100, 4000, 5000], "e.lr": ["2e-3", "2e-3", "0"]},
            "piecewise:points=0.002@100;0.002@4000;0.0@5000,warmup=100",
        ),
        (
            {"how": "points", "e.at": [100, 5000], "e.lr": ["2e-3", "0"], "e.do": "add-1"},
            "piecewise:points=0.002@100;0.001@2550;0.0@5000,warmup=100",
        ),
        ({"how": "text", "e.spec": "array:values=1e-3*4000;5e-4*1000"}, None),
    ],
)
def test_edits_are_addresses(pages, law, edit, schedule):
    """With a script the part and the new address; without, a redirect to it."""
    asked = state(law) | edit
    sent = pages.get("/designer", params=asked)
    assert sent.status_code == 303
    address = sent.headers["location"]
    got = parse(query(address)["schedule"])
    if schedule is not None:
        assert str(got) == schedule
    else:
        np.testing.assert_allclose(got.rates(5000), [1e-3] * 4000 + [5e-4] * 1000, rtol=1e-2)
    part = pages.get("/designer", params=asked, headers=PART)
    assert part.headers["designer-address"] == address
    assert "<html" not in part.text
    assert pages.get(address).status_code == 200
    kept = query(address)
    assert {key: float(kept[key]) for key in ("steps", "peak", "floor", "warmup")} == {
        key: state(law)[key] for key in ("steps", "peak", "floor", "warmup")
    }


def test_another_length_and_another_frame(pages, law):
    points = "piecewise:points=0.002@100;0.002@4020;0@5000,warmup=100"
    sent = pages.get(
        "/designer", params=state(law, schedule=points) | {"how": "steps", "e.steps": "9900", "e.axis": "log"}
    )
    kept = query(sent.headers["location"])
    assert (kept["steps"], kept["axis"]) == ("9900", "log")
    assert kept["schedule"] == "piecewise:points=0.002@100;0.002@7940;0.0@9900,warmup=100"
    edit = {"how": "frame", "e.peak": "1e-3", "e.floor": "0", "e.warmup": "50", "e.decay": "0.1", "e.rise": "1"}
    kept = query(pages.get("/designer", params=state(law) | edit).headers["location"])
    assert {key: kept.get(key) for key in ("peak", "floor", "warmup", "decay", "rise")} == {
        "peak": "0.001",
        "floor": "0.0",
        "warmup": "50",
        "decay": "0.1",
        "rise": "1",
    }


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"how": "text", "e.spec": "wsb:peak=1"}, "schedule 'wsb' is not known"),
        ({"how": "text", "e.spec": "array:path=/etc/passwd"}, "which pages do not read"),
        ({"how": "text", "e.spec": "array: column=a, path=/etc/passwd"}, "which pages do not read"),
        ({"how": "text", "e.spec": "constant:peak=1,warmup=5000"}, "warmup takes all"),
        ({"how": "form", "e.family": "wsd", "e.peak": "fast"}, "peak='fast'"),
        ({"how": "points", "e.at": ["x"], "e.lr": ["1"]}, "point 1 is 'x'"),
        ({"how": "points", "e.at": ["inf"], "e.lr": ["1"]}, "point 1 is 'inf'"),
        ({"how": "points", "e.at": ["5"], "e.lr": []}, "1 steps but 0 rates"),
        ({"how": "steps", "e.steps": "1"}, "steps is 1; give a whole number from 2 to 2,000,000"),
        ({"how": "steps", "e.steps": "1e12"}, "give a whole number"),
        ({"how": "frame", "e.peak": "nan"}, "peak is 'nan'"),
        ({"how": "dance"}, "how is 'dance'"),
    ],
)
def test_a_refused_edit_changes_nothing_and_keeps_what_was_typed(pages, law, edit, says):
    answer = pages.get(
        "/designer", params=state(law, panel={"text": "text", "form": "form"}.get(edit["how"], "points")) | edit
    )
    assert answer.status_code == 400
    assert says in problem(answer.text)
    typed = edit.get("e.spec", "")
    assert not typed or f">{typed}</textarea>" in answer.text
    part = pages.get("/designer", params=state(law) | edit, headers=PART)
    assert part.status_code == 200  # a script shows the sentence and leaves the rest
    assert says in problem(part.text)


@pytest.mark.parametrize(
    "path", ["/designer?law=gone", "/designer/curves?curves=gone", "/designer/law.json?law=gone", "/designer?law=../x"]
)
def test_what_is_gone_says_so_and_what_to_do(pages, path):
    answer = pages.get(path)
    assert answer.status_code == 400
    assert "is not here any more" in problem(answer.text)
    assert re.search("fit it again|upload the curves again", problem(answer.text))


def test_an_upload_is_no_law_and_a_law_no_upload(pages, law):
    answer = pages.post("/designer/curves", files=[("curves", ("m.csv", CSV))], headers=POST)
    name = query(answer.headers["location"])["curves"]
    assert "is no law" in problem(pages.get(f"/designer?law={name}").text)
    assert "holds no curves" in problem(pages.get(f"/designer/curves?curves={law}").text)


def test_with_write_a_restart_keeps_laws_and_without_nothing_is_written(tmp_path):
    name = upload_law(client(tmp_path, write=True))
    assert client(tmp_path, write=True).get("/designer", params=state(name)).status_code == 200
    other = tmp_path / "readonly"
    other.mkdir()
    name = upload_law(client(other))
    assert list(other.iterdir()) == []
    assert "not here any more" in client(other).get("/designer", params=state(name)).text


def test_a_fit_unknown_after_a_restart_can_be_started_again(tmp_path):
    page = client(tmp_path).get("/designer/fit?curves=example&train=pilot-cosine&law=multi-power&method=default")
    assert "was started anew" in problem(page.text)
    assert "Fit it again" in page.text


def test_a_law_written_down_by_hand(pages):
    from thalweg.laws import MultiPower

    params = {"L0": 2.5, "A": 0.65, "alpha": 0.43, "B": 520.0, "C": 2.0, "beta": 0.6, "gamma": 0.64}
    name = upload_law(pages, MultiPower(params=params))
    page = pages.get("/designer", params={"law": name, "steps": 3000})
    assert page.status_code == 200
    assert "no record of a fit" in page.text
    for panel in ("form", "text", "optimum", "export", "law"):
        assert pages.get("/designer", params={"law": name, "steps": 3000, "panel": panel}).status_code == 200


@pytest.mark.parametrize("kind", ["one-power", "chinchilla-steps"])
def test_laws_without_an_optimum_say_so(pages, kind):
    from thalweg.laws import fit, read_curves

    found = fit(
        read_curves(EXAMPLES / "curves.csv", schedules=EXAMPLES / "schedules.toml"), kind, draws=5, rivals=False
    )
    page = pages.get("/designer", params={"law": upload_law(pages, found), "steps": 3000})
    assert page.status_code == 200
    assert "its optimum is degenerate" in page.text


def test_the_csv_holds_every_rate(pages, law):
    text = pages.get("/designer/rates.csv", params=state(law)).text
    rates = [float(line.split(",")[1]) for line in text.splitlines()[1:]]
    np.testing.assert_array_equal(rates, parse(state(law)["schedule"]).rates(5000))


def test_the_optimum_taken_over_is_nearly_as_good(pages, law):
    page = pages.get("/designer", params=state(law, panel="optimum", decay="0.15")).text
    address = re.search(r'href="(/designer\?[^"]*)"[^>]*>Take it over', page)[1].replace("&amp;", "&")
    taken = parse(query(address)["schedule"])
    best = design(example_law(), steps=5000, peak=2e-3, warmup=100, floor=2e-4, decay=0.15)
    assert example_law().final_loss(taken, 5000) == pytest.approx(best.final_loss, abs=1e-3)
    assert np.all(taken.rates(5000)[100:4250] == taken.rates(5000)[100])


def test_names_are_escaped(pages):
    evil = "<script>alert(1)</script>"
    text = CSV.replace("pilot-cosine", evil)
    answer = pages.post("/designer/curves", files=[("curves", (f"{evil}.csv", text))], headers=POST)
    page = pages.get(answer.headers["location"]).text
    assert evil not in page
    assert "&lt;script&gt;" in page
