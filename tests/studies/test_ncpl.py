"""The study runs (SMOKE), says so where its tables are absent, and its rule gives each verdict."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from thalweg.studies.base import expected
from thalweg.studies.ncpl import study

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(shared_data, tmp_path_factory) -> Records:
    config = dataclasses.replace(study.SMOKE, tables=str(shared_data / "pretraining-logs"))
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(config, seed=0, device="cpu", folder=folder)]


def test_smoke_scores_both_sources_and_splits(smoke):
    scores = [r for r in smoke if r["kind"] == "score"]
    found = {(r["source"], r["backbone"], r["split"]) for r in scores}
    assert found == {(s, b, p) for s in study.SOURCES for b in ("surface", "tiny") for p in study.SPLITS}
    counts = {(r["source"], r["split"]): r["runs"] for r in scores}
    assert counts == {
        ("steplaw", "in_val"): 288,
        ("steplaw", "ood_val"): 296,
        ("marin", "in_val"): 205,
        ("marin", "ood_val"): 275,
    }


def test_the_paper_s_constants_give_the_specification_s_errors(smoke):
    """Rank and MAE of the official Chinchilla constants, from the table of trials."""
    official = {(r["source"], r["split"]): (r["official_spearman"], r["official_mae"]) for r in smoke if "mae" in r}
    assert official["steplaw", "in_val"] == pytest.approx((0.8928, 0.0726), abs=6e-5)
    assert official["marin", "in_val"] == pytest.approx((0.9749, 0.0458), abs=6e-5)
    assert official["marin", "ood_val"] == pytest.approx((0.8291, 0.0208), abs=6e-5)


def test_figure_and_verdict_of_smoke(smoke):
    assert study.verdict(smoke).state == "inconclusive"  # one seed proves nothing
    assert len(study.figure(smoke).axes) == 3


def test_absent_tables_are_said_in_a_sentence(tmp_path):
    config = dataclasses.replace(study.SMOKE, tables=str(tmp_path / "none"))
    records = [dict(r, seed=0) for r in study.run(config, seed=0, device="cpu", folder=tmp_path)]
    assert [r["kind"] for r in records] == ["absent"]
    assert "absent" in records[0]["sentence"]
    verdict = study.verdict(records)
    assert (verdict.state, verdict.runs) == ("inconclusive", 0)
    assert math.isnan(verdict.effect)
    assert study.figure(records).get_suptitle()


def made(seed: int, gain: float, rank: float) -> Records:
    """Records of one seed with the given margins; the better of the two Chinchilla laws has MAE 0.04 and rank 0.9."""
    rows = []
    for source in study.SOURCES:
        for split in study.SPLITS:
            row = {"kind": "score", "source": source, "split": split, "backbone": "surface", "seed": seed}
            row |= {"mae": 0.04 * (1 - gain), "baseline_mae": 0.04, "official_mae": 0.05}
            rows.append(row | {"spearman": 0.9 + rank, "baseline_spearman": 0.9, "official_spearman": 0.8})
    return rows


@pytest.mark.parametrize(
    ("gains", "ranks", "state"),
    [
        ((0.5, 0.51, 0.52), (0.05, 0.06, 0.055), "reproduced"),
        ((0.1, 0.11, 0.12), (0.05, 0.06, 0.055), "not reproduced"),
        ((0.5, 0.51, 0.52), (-0.05, -0.06, -0.055), "not reproduced"),
        ((0.1, 0.2, 0.3), (0.05, 0.06, 0.055), "inconclusive"),
    ],
)
def test_rule(gains, ranks, state):
    records = [r for seed, (g, k) in enumerate(zip(gains, ranks, strict=True)) for r in made(seed, g, k)]
    found = study.verdict(records)
    assert found.state == state
    assert found.effect == pytest.approx(sum(gains) / 3)


def test_expected_is_the_study_s():
    found = expected(study.SLUG)
    assert (found["slug"], found["unit"], found["arxiv"]) == (study.SLUG, study.UNIT, study.ARXIV)
