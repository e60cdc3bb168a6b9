"""The README's commands, snippets, paths and promises, taken from its text and tried."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fenced import blocks, inline
from fenced import parse as parse_command
from thalweg.cli import COMMANDS, build, main
from thalweg.laws import load_law
from thalweg.schedules import parse

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = [(block.language, block.text) for block in blocks(TEXT)]
INLINE = inline(TEXT)
WORDS = {"SPEC": "cosine:peak=1", "N": "10", "CHECKPOINTS…": "a b", "DIR": "folder"}
PLAIN = re.sub(r"[-\s]", "", TEXT).lower()
WSD = "wsd:peak=2e-3,warmup=100,decay=0.2,floor=2e-4"


def commands() -> list[str]:
    """Every ``thalweg …`` of the README and of the one-line helps, placeholders filled in."""
    lines = [line for language, block in FENCED if not language for line in block.splitlines()] + INLINE
    lines += [line.rpartition("  ")[2] for line in COMMANDS.values()]
    lines += [f"thalweg demo {arguments}" for arguments in re.findall(r'make demo ARGS="([^"]*)"', TEXT)]
    found = [line.partition(" #")[0].strip() for line in lines if line.startswith("thalweg ")]
    return sorted({" ".join(WORDS.get(word, word) for word in line.split()) for line in found})


def snippet(start: str, language: str = "python") -> str:
    (found,) = [block for kind, block in FENCED if kind == language and start in block]
    return found


def test_the_readme_names_every_command():
    assert len(commands()) > 15
    said = {word for line in commands() for word in line.split()[1:2]} | set(INLINE)
    assert set(COMMANDS) <= said


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line):
    parse_command(line)


@pytest.mark.parametrize("name", ["optim", "runs", "study"])
def test_the_subcommands_of_the_table_exist(name):
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `thalweg {name} "))
    listed = re.findall(r"`(?:thalweg \w+ )?(\w+)`", row)
    assert len(listed) >= 2
    for word in listed:
        assert build().parse_commands([name, word])[0] == (name, word)


def test_every_path_is_there():
    paths = set(re.findall(r"\]\(([^)#:]+)\)", TEXT)) | set(
        re.findall(r"\b(?:docs|examples|recipes|benchmarks)/[\w./-]*\w", TEXT)
    )
    assert {"docs/images/demo.svg", "CONTRIBUTING.md", "examples/curves.csv", "benchmarks/laws.py"} <= paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_make_target_is_there():
    targets = set(re.findall(r"\bmake (\w+)", " ".join([*INLINE, *(block for _, block in FENCED)])))
    assert {"demo", "test", "setup"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_three_lines_drive_a_real_optimizer():
    """The rates are the schedule's for the optimizer that the README asks for, and for another group their multiple."""
    (peak,) = re.findall(r"Make the optimizer with `lr=([\d.e-]+)`", TEXT)
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 10 * float(peak)}]
    optimizer = torch.optim.AdamW(groups, lr=float(peak))
    names: dict[str, Any] = {"optimizer": optimizer}
    exec(snippet("ScheduleLR("), names)
    schedule, scheduler = names["schedule"], names["scheduler"]
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    used = []
    for _ in range(150):
        for weight in weights:
            weight.grad = torch.ones(3)
        used.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    rates = schedule.rates(10_000)[:150]
    np.testing.assert_allclose(used, np.stack([rates, 10 * rates], axis=1), rtol=1e-12)
    assert rates[-1] == schedule.peak == float(peak)


def test_two_lines_make_an_optimizer_of_a_model():
    from thalweg.nn import LanguageModel, ModelConfig

    names: dict[str, Any] = {"model": LanguageModel(ModelConfig(dim=16, layers=1, heads=2, context=16))}
    exec(snippet("import Muon"), names)
    rules = {group["role"]: group["rule"] for group in names["optimizer"].param_groups}
    assert rules == {"embed": "adamw", "hidden": "muon", "head": "adamw", "norm": "adamw"}
    ids = torch.zeros(2, 8, dtype=torch.long)
    names["model"](ids, labels=ids).loss.backward()
    names["optimizer"].step()


def test_the_readme_lists_every_optimizer():
    from thalweg.optim import OPTIMIZERS

    assert [kind.__name__ for kind in OPTIMIZERS.values() if kind.__name__.lower() not in PLAIN] == []
    assert len(OPTIMIZERS) == 19
    assert "Nineteen update rules" in TEXT


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the three commands of "Your own curves" were run as they stand."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    block = next(block for language, block in FENCED if not language and block.startswith("thalweg fit "))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in block.splitlines():
            assert main(shlex.split(line)[1:]) == 0, line
    return folder


def test_the_commands_for_own_curves_work_as_they_stand(tried):
    assert {path.name for path in tried.iterdir()} == {"examples", "law.json", "law.png", "designed.csv"}
    law = load_law(tried / "law.json")
    assert law.final_loss(parse(WSD), 5000) == pytest.approx(1.4932, abs=2e-3)
    rates = np.loadtxt(tried / "designed.csv", delimiter=",", skiprows=1, usecols=2)
    assert law.final_loss(rates, warmup_steps=100) < law.final_loss(parse(WSD), 5000)


def test_python_says_what_the_commands_say(tried, monkeypatch):
    monkeypatch.chdir(tried)
    names: dict[str, Any] = {}
    exec(snippet("read_curves("), names)
    assert names["law"].params == load_law("law.json").params
    rates = np.loadtxt("designed.csv", delimiter=",", skiprows=1, usecols=2)
    np.testing.assert_array_equal(names["best"].rates, rates)


def test_the_schedules_shown_are_the_file():
    shown = tomllib.loads(snippet("pilot-constant", "toml"))
    assert shown == tomllib.loads((ROOT / "examples" / "schedules.toml").read_text())


def test_the_numbers_are_those_of_the_recorded_benchmark():
    found = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())
    rows, seconds = found["schedules"], found["seconds"]
    cosine, wsd, designed = (f"{100 * rows[name]['median_error']:.2f}" for name in ("cosine", "wsd", "designed"))
    worst = max(abs(error) for row in rows.values() for error in row["errors"])
    said = f"cosine {cosine} %, WSD {wsd} %, designed {designed} % (worst of nine {100 * worst:.2f} %)"
    assert said in TEXT
    gaps = [
        f"{rows[name]['above_designed']:.4f} ± {rows[name]['above_designed_error']:.4f}" for name in ("cosine", "wsd")
    ]
    assert f"{gaps[0]} below cosine, {gaps[1]} below WSD (nats/token)" in TEXT
    speed = round(found["tokens_per_second"], -3)
    assert f"{min(seconds):.0f} to {max(seconds):.0f} s; {speed:,.0f} tokens/s in each of two processes" in TEXT


def test_the_ratios_of_optimizers_are_those_of_the_recorded_benchmark():
    found = json.loads((ROOT / "benchmarks" / "results" / "optimizers-cpu-base30.json").read_text())
    medians = {(row["rule"], row["against"]): f"{row['ratio']['median']:.2f}" for row in found["rows"]}
    row = next(line for line in TEXT.splitlines() if "time over pytorch_optimizer's" in line)
    said = re.findall(r"([A-Z][\w-]+) ([\d.]+)", row.split("|")[2])
    assert len(said) == 7
    for name, ratio in said:
        assert medians[name.lower().replace("-", "_"), "pytorch_optimizer"] == ratio
    row = next(line for line in TEXT.splitlines() if "the same over torch's" in line)
    wanted = [("adamw", "torch foreach"), ("adamw", "torch fused"), ("muon", "torch.optim")]
    assert re.findall(r"\d\.\d+", row) == [medians[key] for key in wanted]


def test_the_rates_of_architectures_are_those_of_the_recorded_benchmark():
    found = json.loads((ROOT / "benchmarks" / "results" / "architectures-cpu-peers.json").read_text())
    mid = {(row["size"], row["against"]): f"{row['ratio'][1]:.2f}" for row in found["rows"]}
    row = next(line for line in TEXT.splitlines() if "benchmarks/architectures.py" in line)
    assert f"0.8M parameters {mid['tiny', 'plain']} and {mid['tiny', 'transformers']}" in row
    assert f"17M {mid['small', 'plain']} and {mid['small', 'transformers']}" in row


def test_the_model_snippet(capsys):
    class Model(torch.nn.Linear):
        def forward(self, x, y):
            return SimpleNamespace(loss=(super().forward(x) - y).square().mean())

    torch.manual_seed(0)
    batches = [{"x": torch.randn(4, 5), "y": torch.randn(4, 1)} for _ in range(2)]
    names = {"model": Model(5, 1), "batches": batches}
    exec(snippet("thalweg.landscape"), names)
    rows = torch.cat([torch.cat([batch["x"], torch.ones(4, 1)], dim=1) for batch in batches])
    assert names["found"]["trace"].value == pytest.approx(2 * rows.square().sum().item() / 8, rel=1e-5)
    assert capsys.readouterr().out.startswith("trace = ")
