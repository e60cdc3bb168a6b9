"""The study runs (SMOKE), what it records is what the definitions give, and its rule gives each verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from thalweg.studies.base import expected
from thalweg.studies.river_directions import study, valley

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records]:
    folder = tmp_path_factory.mktemp("study")
    return folder, [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def only(records: Records, **wanted: object) -> Records:
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def test_records_are_plain_json_of_every_kind(smoke: tuple[Path, Records]) -> None:
    records = smoke[1]
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    kinds = {"spectrum", "direction", "share", "comparison", "gain", "trace", "plane"}
    assert {(r["arm"], r["kind"]) for r in records} == {(arm, kind) for arm in ("adamw", "sgd") for kind in kinds}


def test_curvature_along_the_moves_by_autodiff_in_float64(smoke: tuple[Path, Records]) -> None:
    """d'Hd / d'd at the decay's end, the move taken from the checkpoints."""
    folder, records = smoke
    config = study.SMOKE
    lab = valley.Valley(config, study.ARMS[0], 0, "cpu", folder)
    end, last = config.end, config.end + config.decay
    states = {
        "start": lab.weights("stable", config.start),
        "end": lab.weights("stable", end),
        "decayed": lab.weights("decay", last),
    }
    model = lab.model.double()
    (ids,) = lab.windows[0]
    assert len(ids) == config.curvature

    def loss(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = functional_call(model, weights, (ids[:, :-1],)).logits
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    at = {name: states["decayed"][name].double().requires_grad_() for name, _ in model.named_parameters()}
    for name, (before, after) in {"stretch": ("start", "end"), "decay": ("end", "decayed")}.items():
        move = {key: states[after][key].double() - states[before][key].double() for key in at}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            slopes = torch.autograd.grad(loss(at), list(at.values()), create_graph=True)
            along = torch.stack([(slope * m).sum() for slope, m in zip(slopes, move.values(), strict=True)]).sum()
            images = torch.autograd.grad(along, list(at.values()))
        square = sum((m * m).sum().item() for m in move.values())
        curvature = sum((m * image).sum().item() for m, image in zip(move.values(), images, strict=True)) / square
        (record,) = only(records, arm="adamw", kind="direction", name=name)
        assert record["curvature"] == pytest.approx(curvature, rel=1e-3, abs=1e-6)
        assert record["length"] == pytest.approx(math.sqrt(square), rel=1e-6)


def test_windows_of_hessian_and_losses_are_disjoint(smoke: tuple[Path, Records]) -> None:
    lab = valley.Valley(study.SMOKE, study.ARMS[0], 0, "cpu", smoke[0])
    (first,), (second,) = lab.windows
    assert (len(first), len(second)) == (study.SMOKE.curvature, study.SMOKE.windows)
    assert not any((row == second).all(dim=1).any() for row in first)


def test_shares_grow_with_the_eigenvectors_and_chance_is_k_over_n(smoke: tuple[Path, Records]) -> None:
    lab = valley.Valley(study.SMOKE, study.ARMS[0], 0, "cpu", smoke[0])
    count = sum(weight.numel() for weight in lab.model.parameters())
    for record in smoke[1]:
        if "shares" in record:
            assert record["shares"] == sorted(record["shares"])
            assert 0 <= record["shares"][0] <= record["shares"][-1] <= 1
        if record.get("name") == "chance":
            assert record["shares"] == pytest.approx([k / count for k in record["counts"]])


def test_a_second_call_trains_nothing(smoke: tuple[Path, Records], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valley, "train", lambda *_, **__: pytest.fail("trained again"))
    lab = valley.Valley(study.SMOKE, study.ARMS[1], 0, "cpu", smoke[0])
    assert [run.status for run in lab.runs.values()] == ["done", "done"]


def test_the_plane_holds_all_points(smoke: tuple[Path, Records]) -> None:
    for record in only(smoke[1], kind="plane"):
        x, y = np.concatenate([np.array(record[name]["places"]) for name in ("stable", "decay")]).T
        assert record["x"][0] <= x.min() <= x.max() <= record["x"][-1]
        assert record["y"][0] <= y.min() <= y.max() <= record["y"][-1]
        assert np.array(record["rise"]).min() == 0


def made(*highs: float) -> Records:
    """Comparisons with 1 whose swing is the same in each seed and whose decay is one of these."""
    return [
        {
            "arm": arm,
            "kind": "comparison",
            "name": name,
            "high": high if name == "decay" else 100.0,
            "low": 1.0,
            "seed": i,
        }
        for i, high in enumerate(highs)
        for arm in ("adamw", "sgd")
        for name in ("swing", "decay", "noise")
    ]


@pytest.mark.parametrize(
    ("highs", "state"),
    [
        ((8.0, 9.0, 8.5), "reproduced"),
        ((2.0, 2.5, 2.2), "not reproduced"),
        ((2.0, 9.0, 4.0), "inconclusive"),
        ((-1.0, -1.5, -2.0), "not reproduced"),
        ((8.0,), "inconclusive"),
    ],
)
def test_rule(highs: tuple[float, ...], state: str) -> None:
    found = study.verdict(made(*highs))
    assert found.state == state
    assert found.runs == len(highs)
    assert found.effect == pytest.approx(np.mean([(high - 4) / (abs(high) + 4) for high in highs]))


def test_figure(smoke: tuple[Path, Records], tmp_path: Path) -> None:
    two = smoke[1] + [dict(record, seed=1) for record in smoke[1]]
    page = study.figure(two)
    titles = [axes.get_title() for axes in page.axes if axes.get_title()]
    assert len(titles) == 6
    assert "2 seeds" in page.get_supxlabel()
    page.savefig(tmp_path / "figure.png")


def test_expected_says_what_was_run() -> None:
    figures = expected(study.SLUG)
    assert figures["slug"] == study.SLUG
    assert figures["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert figures["claim"] == study.CLAIM
    assert figures["runs"] >= 3
