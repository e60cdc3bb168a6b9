"""thalweg data mix, reuse and threshold: answers against the laws, and one sentence for bad input."""

import json

import numpy as np
import pytest

from thalweg.cli import main
from thalweg.laws import PowerCurves, ReuseLaw, ThresholdLaw, optimal_mixture


def run(capsys, *words):
    code = main(["data", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def curves(tmp_path):
    lines = ["component, samples, error, note"]
    for name, (scale, alpha) in {"web": (2.0, 0.3), "code": (5.0, 0.5)}.items():
        lines += [f"{name}, {n:g}, {0.1 + scale * n**-alpha!r}, x" for n in np.geomspace(100, 1e5, 6).tolist()]
    path = tmp_path / "curves.csv"
    path.write_text("\n".join(lines))
    return path


def test_mix(curves, capsys):
    code, out, _ = run(capsys, "mix", curves, "--target", "web=0.9,code=0.1", "--samples", 1e5, "--json")
    result = json.loads(out)["result"]
    exact = optimal_mixture([0.9, 0.1], PowerCurves([2.0, 5.0], [0.3, 0.5]), 1e5)
    assert code == 0
    assert result["shares"]["code"] == pytest.approx(exact.shares[1], rel=1e-3)
    capped = run(
        capsys, "mix", curves, "--target", "web=0.9,code=0.1", "--samples", 100, "--caps", "code=0.12", "--json"
    )
    result = json.loads(capped[1])["result"]
    assert result["shares"]["code"] == pytest.approx(0.12)
    assert result["extrapolated"] == ["web", "code"]
    code, out, _ = run(capsys, "mix", curves, "--target", "web=0.9,code=0.1", "--samples", 100)
    assert code == 0
    assert "extrapolated" in out
    assert "of the examples do" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--target", "web=0.9,cod=0.1"], "did you mean 'code'"),
        (["--target", "web=0.9,code=0.2"], "sum to 1.1"),
        (["--target", "web"], "name=share"),
        (["--target", "web=0.9,web=0.1"], "each name once"),
        (["--target", "web=0.9,code=0.1", "--caps", "cod=0.1"], "did you mean 'code'"),
        (["--target", "web=0.9,code=0.1", "--caps", "code=0.1,web=0.1"], "caps"),
    ],
)
def test_mix_refuses(curves, capsys, words, sentence):
    code, out, err = run(capsys, "mix", curves, "--samples", 1e5, *words)
    assert (code, out) == (2, "")
    assert sentence in err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("component,samples\nweb,1", "no column 'error'"), ("component,samples,error\nweb,1,x", "line 2"), ("", "column"),
     ("component,samples,error\n,1,1", "empty"), ("component,samples,error\n", "no rows")],
)  # fmt: skip
def test_bad_tables(tmp_path, capsys, text, sentence):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    code, _, err = run(capsys, "mix", path, "--target", "web=0.5,code=0.5", "--samples", 10)
    assert code == 2
    assert sentence in err
    assert run(capsys, "mix", tmp_path / "none.csv", "--target", "a=1", "--samples", 10)[0] == 2


def test_reuse(tmp_path, capsys):
    law = ReuseLaw("log", 0.5, 0.8)
    rows = ["unique,epochs,loss"] + [f"{n!r},1,{1 + n**-0.5!r}" for n in np.geomspace(10, 1e5, 50).tolist()]
    rows += [f"{n},{k},{1 + law.effective_tokens(n, k) ** -0.5!r}" for n in (100, 1000) for k in (2, 4, 8, 16)]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(rows))
    code, out, _ = run(capsys, "reuse", path, "--unique", 1000, "--plot", tmp_path / "reuse.svg", "--json")
    result = json.loads(out)["result"]
    assert code == 0
    assert result["advice"][0]["saturation"] == pytest.approx(law.saturation(1000), rel=0.02)
    assert (tmp_path / "reuse.svg").stat().st_size > 1000
    code, out, _ = run(capsys, "reuse", path, "--unique", 1e9)
    assert code == 0
    assert "extrapolated" in out
    assert "law" in run(capsys, "reuse", path)[1]


def test_reuse_without_runs_takes_the_published_constant(capsys):
    code, out, _ = run(capsys, "reuse", "--unique", 1e9, "--json")
    assert code == 0
    assert json.loads(out)["result"]["law"]["a"] == 15.39
    assert run(capsys, "reuse")[0] == 2
    assert run(capsys, "reuse", "--unique", -1)[0] == 2


def test_threshold(tmp_path, capsys):
    path, saved = tmp_path / "t.csv", tmp_path / "law.json"
    path.write_text("params,frequency\n14e6,1e-5\n70e6,1.6e-6\n160e6,6e-7\n")
    common = ("--params", 70e6, "--facts", 320_000)
    code, out, _ = run(capsys, "threshold", path, *common, "--ratio", 0.2, "--out", saved, "--json")
    advice = json.loads(out)["result"]["advice"]
    assert code == 0
    assert not advice["learned"]
    assert advice["least_ratio"] == pytest.approx(1.1 * 320_000 * ThresholdLaw.load(saved).threshold(70e6))
    code, out, _ = run(capsys, "threshold", saved, *common, "--ratio", 0.9)
    assert "above the threshold" in out
    code, out, _ = run(capsys, "threshold", saved, "--params", 7e9, "--facts", 1e9, "--ratio", 0.1)
    assert "extrapolated" in out
    assert run(capsys, "threshold", saved, *common, "--ratio", 1.2)[0] == 2
    assert run(capsys, "threshold", saved, *common, "--ratio", 0.2, "--exponent", 0.3)[0] == 2
    assert run(capsys, "threshold", tmp_path / "x.json", *common, "--ratio", 0.2)[0] == 2
