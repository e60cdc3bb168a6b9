"""The list, a run, a comparison: what is found, sorted, shown and refused."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from urllib.parse import quote

import pytest
from starlette.exceptions import HTTPException

from thalweg.web.site.runs.shelf import Shelf

PATHS = re.compile(r'<th role="rowheader" scope="row"><a href="([^"]+)">')


def listed(answer) -> list[str]:
    assert answer.status_code == 200
    return [path.removeprefix("/runs/show/") for path in PATHS.findall(answer.text)]


def sentence(answer) -> str:
    return re.search(r'role="alert">([^<]*)<', answer.text)[1]


@pytest.fixture
def six(make):
    make("a", (3.0, 2.5))
    make("b", (3.0, 0.5, 0.7), seed=1)
    make("group/c", status="interrupted")
    make("group/d", (math.nan,), status="failed")
    make("e", ())
    make("f", (9.0,), status="running")


def test_the_list_is_filtered_sorted_and_says_how_many(client, six):
    assert sorted(listed(client.get("/runs"))) == ["a", "b", "e", "f", "group/c", "group/d"]
    assert listed(client.get("/runs?sort=name&words=GROUP")) == ["group/c", "group/d"]
    assert listed(client.get("/runs?words=broke&sort=name")) == ["f", "group/d"]
    assert listed(client.get("/runs?sort=loss")) == ["b", "group/c", "a", "f", "group/d", "e"]
    assert listed(client.get("/runs?sort=steps"))[0] in ("b", "group/c")
    assert listed(client.get("/runs?status=failed")) == ["group/d"]
    assert sorted(listed(client.get("/runs?status=interrupted"))) == ["f", "group/c"]  # f says running, nobody runs it
    text = client.get("/runs?words=nothing-at-all").text
    assert "No run of 6 matches" in text
    page = client.get("/runs?words=group").text
    assert "1\N{EN DASH}2 of 2 that match, 6 in all" in page
    assert "1 interrupted · 1 failed" in page


def test_a_recipe_leads_to_all_runs_of_it(client, make):
    for name in "ab":
        make(name)
    make("other", seed=2)
    digest = re.search(r'href="/runs\?words=(\w{12})"', client.get("/runs?words=a&sort=name").text)[1]
    assert listed(client.get(f"/runs?words={digest}&sort=name")) == ["a", "b"]


def test_pages_keep_what_is_ticked(client, make, monkeypatch):
    monkeypatch.setattr("thalweg.web.site.runs.browse.PAGE", 2)
    for name in "abcde":
        make(name, ())
    answer = client.get("/runs?sort=name&page=2&run=a&run=c")
    assert listed(answer) == ["c", "d"]
    ticked = re.findall(r'name="run" value="(\w)"[^>]* checked', answer.text)
    assert sorted(ticked) == ["a", "c"]
    assert 'data-address="/runs?sort=name&amp;page=2&amp;run=a&amp;run=c"' in answer.text
    assert listed(client.get("/runs?sort=name&page=99")) == ["e"]


def test_an_absent_and_an_empty_folder_are_said(client, root):
    assert "No runs here yet" in client.get("/runs").text
    shutil.rmtree(root)
    assert "does not exist yet" in client.get("/runs").text


def test_a_run_shows_all_that_is_known_of_it(client, make):
    run = make("a", [5 / (1 + step) for step in range(40)])
    with run.attempt(), run.checkpoint_folder(40) as folder:
        (folder / "weights").write_text("w")
    text = client.get("/runs/show/a").text
    assert "schedule = &#34;constant:peak=0.1&#34;" in text
    assert "40 of 40 steps" in text
    assert 'Checkpoints: <span class="nums">40</span>' in text
    assert "Environment of attempt 2" in text
    assert text.count("<td>start</td>") == 2
    for words in ("training loss (nats/token)", "learning rate (per optimizer step)", "throughput (tokens/s)"):
        assert words in text
    assert "from 5 at 0 to 0.125 at 39, lowest 0.125, highest 5." in text
    assert f"{4 * 8 / 0.5:.0f}" in text  # tokens per second
    assert 'href="/designer?run=a"' in text


def test_axes_ranges_and_averages_come_from_the_address(client, make):
    make("a", [5 / (1 + step) for step in range(40)])

    def shown(query: str) -> dict:
        text = client.get(f"/runs/show/a?{query}", headers={"hx-request": "true"}).text
        assert "<html" not in text
        found = re.search(r'data-points="([^"]*)"', text)[1].replace("&#34;", '"')
        return json.loads(found) | {"address": re.search(r'data-address="([^"]*)"', text)[1].replace("&amp;", "&")}

    assert shown("")["lines"][0]["x"] == list(range(40))
    assert shown("x=tokens")["lines"][0]["x"] == [32 * (step + 1) for step in range(40)]
    assert shown("x=seconds")["lines"][0]["x"] == [0.5 * (step + 1) for step in range(40)]
    assert shown("from=10&to=20")["lines"][0]["x"] == list(range(10, 21))
    zoomed = shown("from=10&to=20&go=in&smooth=5&logy=1&metric=lr")
    assert zoomed["address"] == "/runs/show/a?metric=lr&logy=1&smooth=5&from=12.5&to=17.5"
    assert "smooth" in zoomed["lines"][0]
    assert shown("go=out")["address"] == "/runs/show/a?metric=loss&from=-19.5&to=58.5"
    assert shown("from=10&to=20&go=right")["address"].endswith("from=15&to=25")
    assert shown("from=3&go=all")["address"] == "/runs/show/a?metric=loss"
    assert shown("logx=1&from=1&to=16&go=in")["address"].endswith("from=2&to=8")
    assert "form=csv" not in client.get("/runs/show/a?metric=tokens_per_second").text  # it was not logged
    assert "form=csv&amp;metric=lr" in client.get("/runs/show/a?metric=lr").text
    assert shown("x=seconds&metric=tokens_per_second")["lines"][0]["y"] == [64.0] * 40


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("x=hours", "x = &#39;hours&#39; is no axis"),
        ("from=abc", "from = &#39;abc&#39; is no finite number"),
        ("to=nan", "is no finite number"),
        ("to=1e999", "is no finite number"),
        ("from=5&to=5", "from = 5 must lie below to = 5"),
        ("smooth=-1", "smooth = -1 must be"),
        ("go=up", "go = &#39;up&#39; is no move"),
    ],
)
def test_what_an_address_misstates_is_named(client, make, query, words):
    make("a")
    for path in ("/runs/show/a?", "/runs/compare?run=a&"):
        answer = client.get(path + query)
        assert answer.status_code == 400
        assert words in sentence(answer)


@pytest.mark.parametrize("query", ["status=odd", "sort=odd", "page=-1", "page=x", "page=²"])
def test_what_the_list_is_asked_wrongly_is_named(client, query):
    assert client.get(f"/runs?{query}").status_code == 400


def test_values_that_are_not_finite_are_marked_and_counted(client, make):
    make("a", (3.0, math.nan, math.inf, 2.0, -math.inf))
    make("none", (math.nan, math.nan))
    text = client.get("/runs/show/a").text
    assert "1 nan and 2 infinite of 5 values, the first at step 1; marked at the frame" in text
    assert 'class="bad k0"' in text
    text = client.get("/runs/show/none").text
    assert "There is no finite value to draw here" in text
    assert "2 nan of 2 values" in text


@pytest.mark.parametrize(
    "query", ["", "logx=1&logy=1", "from=0&to=0.001", "from=1e9&to=1e10", "smooth=3", "logy=1&from=-5&to=-1"]
)
@pytest.mark.parametrize("losses", [(), (1.0,), (0.0, 0.0), (-1.0, -2.0), (1e308, -1e308, 1e-308)])
def test_every_curve_is_drawn_somehow(client, make, losses, query):
    make("a", losses)
    answer = client.get(f"/runs/show/a?{query}")
    assert answer.status_code == 200
    assert not re.search(r'd="[^"]*(nan|inf)', answer.text)


def test_a_comparison_shows_curves_differences_and_ends(client, make):
    make("x/seed-0", (3.0, 2.0))
    make("y/seed-0", (3.0, 1.5, 1.0), batch=8)
    text = client.get("/runs/compare?run=x/seed-0&run=y/seed-0").text
    assert "2 runs compared" in text
    assert ">x/seed-0</text>" in text
    assert 'class="line raw k1 d1"' in text
    assert re.search(r"<code>batch</code></th><td>4</td><td>8</td>", text)
    assert '<td class="num">2</td><td class="num">1.0000</td><td class="num">\N{MINUS SIGN}1.0000</td>' in text
    assert "?run=x%2Fseed-0&amp;run=y%2Fseed-0&amp;form=csv&amp;metric=loss" in text
    assert 'href="/designer?run=x%2Fseed-0&amp;run=y%2Fseed-0"' in text


def test_thirteen_runs_are_twelve_and_say_so(client, make):
    for k in range(13):
        make(f"r{k:02d}", (3.0, 2.0 + k))
    text = client.get("/runs/compare?" + "&".join(f"run=r{k:02d}" for k in range(13))).text
    assert "12 runs are drawn; 1 more is left out" in text
    styles = re.findall(r'<path class="line raw ([^"]+)"', text)[:12]
    assert len(set(styles)) == 12


def test_what_cannot_be_compared_is_named_and_the_rest_is_shown(client, make, root):
    make("a")
    make("b")
    (root / "b" / "log.jsonl").write_text("{}\n{}\n")
    text = client.get("/runs/compare?run=a&run=b&run=gone").text
    assert "log.jsonl line 1 is damaged" in text
    assert "there is no run gone under" in text
    assert text.count('class="line raw') == 2  # wide and narrow
    assert "logged no val_loss" in client.get("/runs/compare?run=a&metric=val_loss").text
    assert client.get("/runs/compare?run=gone").status_code == 200
    assert "tick two or more" in sentence(client.get("/runs/compare"))


@pytest.mark.parametrize("name", ["naïve ☃ run", "a b?c=d&e#f", "<script>alert(1)</script>", "x" * 240, "'\"`;$(x)"])
def test_every_name_leads_to_its_run_and_is_escaped(client, make, name):
    make(name, name=name)
    (address,) = listed(client.get("/runs"))
    answer = client.get(f"/runs/show/{address.replace('&amp;', '&').replace('&#39;', quote(chr(39)))}")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "schedule = " in answer.text
    assert client.get("/runs/compare", params={"run": name}).status_code == 200
    file = client.get("/runs/export", params={"run": name, "form": "toml"})
    assert file.text.startswith("steps = 40")
    assert re.fullmatch(r'attachment; filename="[\w.-]{1,90}\.toml"', file.headers["content-disposition"])


@pytest.mark.parametrize("path", ["../../etc", "", "a/..", "a/../a", "/a", "a/", "%2e%2e/a", "/etc", "nothing"])
def test_only_listed_runs_are_found(client, make, root, path):
    make("a")
    (root.parent / "run.json").write_text((root / "a" / "run.json").read_text())
    assert client.get(f"/runs/show/{quote(path, safe='%')}").status_code == 404
    for other in ("export", "live"):
        assert client.get(f"/runs/{other}", params={"run": path}).status_code == 404
    with pytest.raises(HTTPException, match="there is no run"):
        Shelf(root).folder(path)


def test_links_out_of_the_root_are_not_followed(client, make, root, tmp_path):
    make("a")
    shutil.copytree(root / "a", tmp_path / "outside")
    (root / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "secret").write_text("secret = 1")
    assert listed(client.get("/runs")) == ["a"]
    assert client.get("/runs/show/link").status_code == 404
    (root / "a" / "recipe.toml").unlink()
    (root / "a" / "recipe.toml").symlink_to(tmp_path / "secret")
    text = client.get("/runs/show/a").text
    assert "recipe.toml of this run is a link that leads out" in text
    assert "secret = 1" not in text
    assert client.get("/runs/export?run=a&form=toml").status_code == 400
    (root / "a" / "log.jsonl").rename(tmp_path / "log")
    (root / "a" / "log.jsonl").symlink_to(tmp_path / "log")
    assert "log.jsonl of this run is a link" in client.get("/runs/show/a").text
    assert client.get("/runs/export?run=a").status_code == 400


def test_damage_is_said_on_the_page_and_the_rest_is_shown(client, make, root):
    run = make("a")
    state = json.loads((run.folder / "run.json").read_text())
    for content, words in [
        ("{", "damaged"),
        (json.dumps(state | {"version": 9}), "version 9"),
        (json.dumps(state | {"steps": "many"}), "misstates steps"),
        ("[" * 100_000, "damaged"),
    ]:
        (run.folder / "run.json").write_text(content)
        assert words in client.get("/runs").text
        text = client.get("/runs/show/a").text
        assert words in text
        assert "schedule = " in text
        assert 'class="line raw' in text
    (run.folder / "run.json").write_text(json.dumps(state))
    (run.folder / "environment.json").write_text("[1")
    (run.folder / "recipe.toml").write_bytes(b"\xff\xfe")
    text = client.get("/runs/show/a").text
    assert "recipe.toml is not UTF-8" in text
    assert "a file of this run cannot be read" in text
    with open(run.folder / "log.jsonl", "a") as log:
        log.write('{"attempt":1,"step":3,"lo')
    assert "an unfinished last line of 25 bytes is left out" in client.get("/runs/show/a").text
    with open(run.folder / "log.jsonl", "a") as log:
        log.write('\n{"attempt":1,"step":4,"loss":1}\n')
    answer = client.get("/runs/show/a")
    assert answer.status_code == 200
    assert "log.jsonl line 6 is damaged" in answer.text


def test_half_characters_do_not_break_a_page(client, make, root):
    run = make("a")
    state = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(state | {"name": "\ud800", "error": "\udfff"}))
    os.makedirs(os.fsencode(root) + b"/\xff")
    make("line\nbreak")
    (root / os.fsdecode(b"\xff") / "run.json").write_text("{}")
    assert client.get("/runs/show/a").status_code == 200
    assert "name is no plain text: rename it" in client.get("/runs").text
    assert client.get("/runs/compare?run=a").status_code == 200


def test_a_folder_that_disappears_between_clicks_is_a_sentence(client, make, root):
    make("a")
    assert listed(client.get("/runs")) == ["a"]
    assert client.get("/runs/show/a").status_code == 200
    shutil.rmtree(root / "a")
    answer = client.get("/runs/show/a")
    assert answer.status_code == 404
    assert "it was deleted, renamed or never there" in sentence(answer)
    assert client.get("/runs/export?run=a").status_code == 404
    make("a", (9.0,))
    assert "from 9 at 0" in client.get("/runs/show/a").text


def test_nothing_is_written(client, make, root):
    make("a")
    before = sorted(path for path in root.rglob("*"))
    for address in ("/runs", "/runs/show/a", "/runs/compare?run=a", "/runs/export?run=a"):
        assert client.get(address).status_code == 200
    assert sorted(root.rglob("*")) == before
    assert client.post("/runs", headers={"origin": "http://127.0.0.1:8765"}).status_code == 405
