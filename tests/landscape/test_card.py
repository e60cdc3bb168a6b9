"""The card's code runs as it is written, block by block, on small models."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from landscape.dense import net

CARD = (Path(__file__).parents[2] / "docs" / "cards" / "landscape.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", CARD, flags=re.MULTILINE | re.DOTALL))
BLOCKS = [
    (name, block)
    for name, body in SECTIONS.items()
    for block in re.findall(r"^```python\n(.*?)^```", body, flags=re.MULTILINE | re.DOTALL)
]


def weights(model, seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: w + 0.3 * torch.randn(w.shape, generator=generator) for name, w in model.state_dict().items()}


def llama():
    transformers = pytest.importorskip("transformers")
    shape = transformers.LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    torch.manual_seed(0)
    ids = torch.randint(20, (4, 6), generator=torch.Generator().manual_seed(0))
    model = transformers.LlamaForCausalLM(shape)
    count = sum(w.numel() for w in model.model.layers.parameters())
    return model, [{"input_ids": part, "labels": part} for part in ids.split(2)], torch.eye(count)[:, :3]


@pytest.fixture
def names():
    """What the blocks take as given."""
    nx = pytest.importorskip("networkx")
    case, rng = net(rows=12), np.random.default_rng(0)
    model = case.model.float()
    inputs, targets = case.inputs.float(), case.targets
    graph = nx.Graph()
    graph.add_edge("a", "b", height=2.0)

    def losses_of_fixed_windows(model):
        with torch.no_grad():
            return F.cross_entropy(model(inputs), targets, reduction="none").numpy()

    def evaluate(state):
        model.load_state_dict(state)
        return losses_of_fixed_windows(model)

    states = [weights(model, seed) for seed in range(5)]
    return {
        "model": model,
        "loss_fn": lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        "batches": [(inputs[:5], targets[:5]), (inputs[5:], targets[5:])],
        "losses_of_fixed_windows": losses_of_fixed_windows,
        "evaluate": evaluate,
        "checkpoints": states,
        **dict(zip("abcd", states, strict=False)),
        "stable": 2 + rng.random((3, 8)),
        "decayed": 1 + rng.random((3, 8)),
        "averaged": 1 + rng.random(8),
        "entropies": rng.random((6, 8)),
        "sources": np.array([0, 1]),
        "targets": np.array([1, 7]),
        "capacities": np.array([3.0, 2.0]),
        "graph": graph,
        "x": np.linspace(-1, 1, 3),
        "y": np.linspace(-1, 1, 3),
        "rates": np.array([0.1, 0.1, 0.05]),
        "step": 3,
        "steps": 500,
        "train_one_step": lambda model: None,
    }


def test_every_section_with_a_claim_has_code():
    assert len(BLOCKS) >= 10
    shown = {name for name, _ in BLOCKS}
    assert {name for name, body in SECTIONS.items() if body.lstrip().startswith("`") and "Claim (" in body} <= shown


@pytest.mark.parametrize(("section", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_the_code_runs_as_written(section, block, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if section == "interpolation":
        names |= {"before": names["a"], "after": names["b"]}
    if section == "tokens":
        names |= {"before": 1 + names["entropies"], "after": names["entropies"]}
    if section == "operators":
        names["model"], names["batches"], names["V"] = llama()
    exec(compile(block, f"landscape.md, {section}", "exec"), names)  # the card's own text
    if section == "watch":
        assert [step for step, _ in names["watch"].history] == [500]
    for picture in re.findall(r'savefig\("(.+?)"\)', block):
        assert (tmp_path / picture).exists()
