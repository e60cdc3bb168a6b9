"""Averages of saved weights: the lists of weights, and the mean over states and files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from thalweg.errors import InputError
from thalweg.train.averaging import average_checkpoints, average_weights, ema, sma, wma


def test_weights_of_the_paper() -> None:
    assert [round(w, 3) for w in ema(6)] == [0.328, 0.082, 0.102, 0.128, 0.160, 0.200]
    assert [round(w, 4) for w in ema(3, form="geometric")] == [0.0323, 0.1613, 0.8065]
    assert sma(4) == (0.25, 0.25, 0.25, 0.25)
    assert wma(3) == (3 / 6, 2 / 6, 1 / 6)
    assert ema(1) == ema(1, form="geometric") == sma(1) == wma(1) == (1.0,)
    assert ema(3, 1.0) == (0.0, 0.0, 1.0)


@given(st.integers(1, 40), st.floats(0.01, 0.99))
def test_weights_sum_to_one_and_follow_their_definition(k: int, alpha: float) -> None:
    for weights in (sma(k), wma(k), ema(k, alpha), ema(k, alpha, form="geometric")):
        assert len(weights) == k
        assert sum(weights) == pytest.approx(1, abs=1e-12)
    points = np.random.default_rng(k).normal(size=k)
    mean = points[0]
    for point in points[1:]:
        mean = alpha * point + (1 - alpha) * mean
    assert np.dot(ema(k, alpha), points) == pytest.approx(mean, abs=1e-12)


def states(k: int, dtype: torch.dtype = torch.float32) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (5, 3), "a.bias": (5,), "scale": ()}
    return [
        {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
        | {"n": torch.tensor(i)}
        for i in range(k)
    ]


def test_the_mean_is_exact_to_half_an_ulp() -> None:
    given_states, weights = states(6), ema(6)
    mean = average_weights(given_states, weights)
    for name in ("a.weight", "a.bias", "scale"):
        columns = zip(*(state[name].flatten().tolist() for state in given_states), strict=True)
        exact = [
            float(sum(Fraction(w) * Fraction(x) for w, x in zip(weights, column, strict=True))) for column in columns
        ]
        assert mean[name].dtype == torch.float32
        np.testing.assert_array_equal(mean[name].flatten().numpy(), np.array(exact, dtype=np.float32))
    assert mean["n"] == 5


def test_bfloat16_is_summed_wide_and_returned_narrow() -> None:
    big = {"w": torch.full((4,), 256.0, dtype=torch.bfloat16)}
    small = {"w": torch.full((4,), 1.0, dtype=torch.bfloat16)}
    mean = average_weights([big] * 64 + [small] * 64, sma(128))["w"]
    assert mean.dtype == torch.bfloat16
    assert mean.tolist() == [128.0] * 4  # 128.5 in bfloat16; a sum in bfloat16 would stall near 256 * 64


def test_states_are_not_changed_nor_shared() -> None:
    given_states = states(2)
    before = copy.deepcopy(given_states)
    mean = average_weights(given_states, (0.0, 1.0))
    mean["a.bias"].zero_()
    mean["n"].zero_()
    for state, kept in zip(given_states, before, strict=True):
        assert all(torch.equal(state[name], kept[name]) for name in kept)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    paths = []
    for i, state in enumerate(states(4)):
        paths.append(tmp_path / f"step-{i:08d}")
        paths[-1].mkdir()
        save_file(state, paths[-1] / "model.safetensors")
    return paths


def test_files_give_the_same_mean_and_are_written_whole(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "model.safetensors"
    expected = average_weights(states(4), wma(4))
    for paths in (folders, [folder / "model.safetensors" for folder in folders]):
        mean = average_checkpoints(paths, wma(4), out=out)
        written = load_file(out)
        assert set(mean) == set(written) == set(expected)
        assert all(torch.equal(mean[name], expected[name]) for name in expected)
        assert all(torch.equal(written[name], expected[name]) for name in expected)
    assert [path.name for path in out.parent.iterdir()] == ["model.safetensors"]


def test_out_may_be_one_of_the_inputs(folders: list[Path]) -> None:
    average_checkpoints(folders, sma(4), out=folders[-1] / "model.safetensors")
    again = load_file(folders[-1] / "model.safetensors")
    expected = average_weights(states(4), sma(4))
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def test_a_full_disk_leaves_the_old_file(folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "mean.safetensors"
    average_checkpoints(folders, sma(4), out=out)
    before = out.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thalweg.train.averaging.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        average_checkpoints(folders, wma(4), out=out)
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".*tmp"))


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_truncated_file_is_named(folders: list[Path], kept: int) -> None:
    path = folders[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"step-00000001.*truncated"):
        average_checkpoints(folders, sma(4))


def test_files_that_are_absent_or_of_another_model_are_refused(folders: list[Path]) -> None:
    with pytest.raises(InputError, match="does not exist"):
        average_checkpoints([*folders, folders[0] / "absent"], sma(5))
    other = states(1)[0]
    save_file({**other, "a.bias": torch.zeros(6)}, folders[0] / "model.safetensors")
    with pytest.raises(InputError, match=r"a.bias has shape \(6,\) in state 1 of 4 but \(5,\)"):
        average_checkpoints(folders, sma(4))
    save_file({**other, "extra": torch.zeros(1)}, folders[0] / "model.safetensors")
    with pytest.raises(InputError, match="state 1 of 4 and the newest differ in 'extra'"):
        average_checkpoints(folders, sma(4))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: sma(0), "k=0"),
        (lambda: wma(2.5), "k=2.5"),
        (lambda: ema(True), "k=True"),
        (lambda: ema(3, 0.0), "alpha=0.0"),
        (lambda: ema(3, 1.5), "alpha=1.5"),
        (lambda: ema(3, float("nan")), "alpha=nan"),
        (lambda: ema(3, 1.0, form="geometric"), "below 1"),
        (lambda: ema(3, form="geometrc"), "did you mean 'geometric'"),
        (lambda: average_weights([], []), "0 states"),
        (lambda: average_weights(states(2), sma(3)), "2 states and 3 weights"),
        (lambda: average_weights(states(2), (0.5, 0.4)), "sum to 0.9"),
        (lambda: average_weights(states(2), (0.5, float("nan"))), "sum to nan"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert sentence in str(caught.value)
