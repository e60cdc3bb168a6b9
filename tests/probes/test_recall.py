"""Recall by one forward pass against greedy decoding, token by token."""

import numpy as np
import pytest
import torch

from thalweg.data import ByteTokenizer
from thalweg.errors import InputError
from thalweg.nn import LanguageModel, ModelConfig
from thalweg.probes import evaluate_recall
from thalweg.tasks import Biographies, Probe

PEOPLE = Biographies(50)


class Knows(torch.nn.Module):
    """Says the next byte of some texts it knows, by their beginning; else 0."""

    def __init__(self, texts):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.texts = [text.encode() for text in texts]

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, 256)
        for row in range(len(ids)):
            line = bytes(ids[row].tolist())
            for at in range(1, len(line) + 1):
                for text in self.texts:
                    if text.startswith(line[:at]) and len(text) > at:
                        logits[row, at - 1, text[at]] = 5.0
        return logits + self.weight


def test_known_facts_are_found_and_others_not():
    probes = PEOPLE.probes([0, 1, 2], templates=[0])
    model = Knows([p.prompt + p.value for p in probes if p.person != 1 and p.attribute != "major"])
    found = evaluate_recall(model, ByteTokenizer(), probes, batch=4)
    assert found.accuracy == pytest.approx(8 / 15)
    assert found.attributes == pytest.approx({p.attribute: 2 / 3 for p in probes} | {"major": 0.0})
    assert [bool(x) for x in found.right] == [p.person != 1 and p.attribute != "major" for p in probes]


def test_against_greedy_decoding():
    model = LanguageModel(
        ModelConfig(dim=16, layers=1, heads=2, context=128), generator=torch.Generator().manual_seed(0)
    )
    tokenizer = ByteTokenizer()
    own = []
    for probe in PEOPLE.probes([3], templates=[0, 1]):
        ids = torch.from_numpy(tokenizer.encode(probe.prompt).astype(np.int64))[None]
        for _ in range(3):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
        made = bytes(ids[0, -3:].tolist())
        if made.isascii():
            own.append(Probe(probe.prompt, made.decode(), "own", 3))
    assert own
    model.train()
    found = evaluate_recall(model, tokenizer, [*own, Probe("ab", "~!", "other", 0)])
    assert found.attributes == {"own": 1.0, "other": 0.0}
    assert model.training


def test_refusals():
    class Merging(ByteTokenizer):
        def encode(self, text):
            return super().encode(text)[::2]

    with pytest.raises(InputError, match="merges"):
        evaluate_recall(Knows([]), Merging(), [Probe("abc", "d", "x", 0)])
    with pytest.raises(InputError, match="no probes"):
        evaluate_recall(Knows([]), ByteTokenizer(), [])
