"""The atlas on the local pages: what is shown, selected, and refused."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from outcome_folders import make_outcome
from page_reader import Page
from thalweg.studies import STUDIES
from thalweg.web.site.app import build_app
from thalweg.web.site.settings import Settings

OWN = "http://127.0.0.1:8765"
HTMX = {"hx-request": "true"}


@pytest.fixture
def client(tmp_path):
    return TestClient(build_app(Settings(tmp_path, 8765)), base_url=OWN)


def cards(answer) -> list[str]:
    """The addresses of the studies shown, in order."""
    links = [attrs.get("href") or "" for attrs in Page(answer.text).tags("a")]
    return list(dict.fromkeys(link for link in links if link.startswith("/studies/")))


def test_all_studies_are_cards_with_lazy_figures_of_known_size(client):
    answer = client.get("/")
    assert {link.rpartition("/")[2] for link in cards(answer)} == set(STUDIES)
    page = Page(answer.text)
    assert f"{len(STUDIES)} of {len(STUDIES)} studies" in page.words
    for image in page.tags("img"):
        assert image["loading"] == "lazy"
        assert int(image["width"] or 0) > 100
        assert int(image["height"] or 0) > 100
    assert not [attrs for _, attrs in page.elements if "style" in attrs]  # the policy forbids it


def test_filters_narrow_and_count(client):
    data = client.get("/?topic=data")
    both = client.get("/?topic=data&verdict=not+reproduced")
    assert 0 < len(cards(both)) < len(cards(data)) < len(STUDIES)
    page = Page(both.text)
    chosen = [attrs["id"] for attrs in page.tags("input") if "checked" in attrs]
    assert chosen == ["verdict-not-reproduced", "topic-data"]
    assert f"not reproduced {len(cards(both))}" in page.words  # what this choice leaves beside the topic
    assert f"data {len(cards(both))}" in page.words
    assert "/studies/wsd-river-valley" in cards(client.get("/?word=2410.05192"))
    assert cards(client.get("/?word=RIVER+valley+wsd")) == ["/studies/wsd-river-valley"]
    assert "No study fits" in client.get("/?word=zebra").text


def test_a_script_gets_the_list_and_the_counts_alone(client):
    answer = client.get("/?topic=data&verdict=&word=", headers=HTMX)
    assert "<html" not in answer.text
    assert answer.headers["hx-replace-url"] == "/?topic=data"
    assert cards(answer) == cards(client.get("/?topic=data"))
    swapped = {attrs["id"] for _, attrs in Page(answer.text).elements if "hx-swap-oob" in attrs}
    assert {"shown", "topic-any-count", "verdict-reproduced-count"} <= swapped


@pytest.mark.parametrize("query", ["topic=dat", "verdict=proved", "word=" + "x" * 101])
def test_unknown_filters_are_refused_in_a_sentence(client, query):
    answer = client.get(f"/?{query}")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text


@pytest.mark.parametrize("slug", STUDIES)
def test_every_study_has_a_page(client, slug):
    answer = client.get(f"/studies/{slug}")
    assert answer.status_code == 200
    page = Page(answer.text)
    assert page.open == []
    assert f"thalweg study run {slug}" in page.words
    assert [tag for tag, _ in page.elements].count("h1") == 1


@pytest.mark.parametrize("slug", ["nothing", "..", "../x", "%2e%2e%2fx", "..%2f..%2fetc%2fpasswd", "sam%00", "SAM", ""])
@pytest.mark.parametrize("rest", ["", "/figure.svg", "/outcomes/x", "/outcomes/x/records.jsonl"])
def test_other_slugs_do_not_exist(client, slug, rest):
    answer = client.get(f"/studies/{slug}{rest}")
    assert answer.status_code == 404 or answer.url.path == "/"  # the client itself takes ".." out


def test_a_figure_is_kept_by_its_version_and_can_do_nothing(client):
    page = Page(client.get("/studies/sam").text)
    address = page.tags("img")[0]["src"] or ""
    answer = client.get(address)
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "immutable" in answer.headers["cache-control"]
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "script" not in answer.headers["content-security-policy"]
    etag = {"if-none-match": answer.headers["etag"]}
    assert client.get(address, headers=etag).status_code == 304
    assert client.get("/studies/sam/figure.svg").headers["cache-control"] == "no-cache"


def test_outcomes_are_found_and_shown(client, tmp_path):
    assert "None under" in client.get("/studies/sam").text
    make_outcome(tmp_path)
    make_outcome(tmp_path, "elsewhere-gpu", slug="momentum")
    page = Page(client.get("/studies/sam").text)
    assert "sam-laptop" in page.words
    assert "elsewhere-gpu" not in page.words
    page = Page(client.get("/studies/sam/outcomes/sam-laptop").text)
    for words in ("This outcome has ended", "0.500 ± 0.010 nats", "thalweg 0.1.0", "Records of seed 0, 1 to 3 of 3"):
        assert words in page.words
    assert client.get((page.tags("img")[0]["src"]) or "").status_code == 200
    assert client.get("/studies/momentum/outcomes/sam-laptop").status_code == 404


def test_records_come_in_pages_and_all_at_once(client, tmp_path):
    folder = make_outcome(tmp_path, records=120)
    place = "/studies/sam/outcomes/sam-laptop"
    assert "Records of seed 1, 101 to 120 of 120" in Page(client.get(f"{place}?seed=1&page=3").text).words
    assert "101 to 120" in client.get(f"{place}?page=999").text
    assert "1 to 50" in client.get(f"{place}?page=-1").text
    assert client.get(f"{place}?seed=7").status_code == 404
    document = json.loads((folder / "seed-0.json").read_text())
    document["records"][0]["loss"] = float("nan")
    (folder / "seed-0.json").write_text(json.dumps(document))
    answer = client.get(f"{place}/records.jsonl")
    assert "attachment" in answer.headers["content-disposition"]
    rows = [json.loads(line, parse_constant=pytest.fail) for line in answer.text.splitlines()]
    assert len(rows) == 240
    assert rows[0]["loss"] is None
    assert rows[1]["loss"] == 0.25


def test_names_of_folders_are_quoted_in_addresses(client, tmp_path):
    make_outcome(tmp_path, "a b?c#d&e-smoke")
    links = [attrs.get("href") or "" for attrs in Page(client.get("/studies/sam").text).tags("a")]
    (link,) = [link for link in links if "/outcomes/" in link]
    assert client.get(link).status_code == 200
    assert client.get(f"{link}/records.jsonl").status_code == 200


def test_damaged_hostile_and_foreign_folders(client, tmp_path):
    hostile = make_outcome(tmp_path, "<script>alert(1)<b>-smoke", unit="<script>alert(2)</script>")
    (tmp_path / "studies" / "broken").mkdir()
    (tmp_path / "studies" / "broken" / "study.json").write_text("{")
    outside = tmp_path.parent / "outside"
    make_outcome(outside, "sam-gpu")
    (tmp_path / "studies" / "sam-gpu").symlink_to(outside / "studies" / "sam-gpu")
    answer = client.get("/studies/sam")
    assert "<script>alert" not in answer.text
    assert "sam-gpu" not in Page(answer.text).words
    assert client.get("/studies/sam/outcomes/sam-gpu").status_code == 404
    (hostile / "seed-1.json").write_text("{")
    name = "%3Cscript%3Ealert(1)%3Cb%3E-smoke"
    damaged = client.get(f"/studies/sam/outcomes/{name}")
    assert damaged.status_code == 409
    assert "is damaged" in damaged.text
    assert "<script>alert" not in damaged.text


def test_progress_without_a_script_leads_to_the_page(client, tmp_path):
    make_outcome(tmp_path)
    place = "/studies/sam/outcomes/sam-laptop"
    assert client.get(f"{place}/progress", follow_redirects=False).headers["location"] == place
    assert client.get(f"{place}/progress", headers=HTMX).headers["hx-refresh"] == "true"
