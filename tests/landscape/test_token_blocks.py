"""Large vocabularies: logits in blocks of tokens give the numbers of logits held whole, in less memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape.dense import gap
from thalweg.errors import InputError
from thalweg.landscape import fisher, ggn, softmax
from thalweg.landscape.token_blocks import SMALLEST_VOCABULARY
from thalweg.landscape.watch import next_token_loss
from thalweg.nn import LanguageModel, ModelConfig

VOCABULARY = SMALLEST_VOCABULARY + 3
SAME = 1e-12


class Tagger(nn.Module):
    """A label for each position; the head has a bias, or is the embedding."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 3)
        self.mix = nn.Linear(3, 3)
        self.head = nn.Linear(3, VOCABULARY, bias=not tied)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(torch.tanh(self.mix(self.embed(ids))))


def batch(rows=3, tokens=5):
    draws = torch.Generator().manual_seed(0)
    ids, labels = torch.randint(VOCABULARY, (2, rows, tokens), generator=draws)
    labels[0, :2] = -100
    return [(ids, labels)]


def loss_with(**options):
    return lambda m, b: F.cross_entropy(m(b[0]).flatten(0, 1), b[1].flatten(), **options)


def tagger(tied=False):
    torch.manual_seed(0)
    return Tagger(tied).double()


def vectors(n, count=5):
    return torch.randn(n, count, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("way", ["token blocks", "token blocks, rev"])
def test_blocks_give_the_same_numbers(tied, way, monkeypatch):
    monkeypatch.setattr(softmax, "BLOCK", 7 * VOCABULARY)  # blocks of one token of five vectors
    for make, more in ((ggn, {}), (fisher, {}), (fisher, {"samples": 2})):
        whole = make(tagger(tied), loss_with(), batch(), back_end="fwd", **more)
        blocks = make(tagger(tied), loss_with(), batch(), back_end=way, **more)
        probes = vectors(whole.n)
        assert gap(blocks @ probes, whole @ probes) < SAME
        assert make(tagger(tied), loss_with(), batch(), **more).rows(probes.T).isfinite().all()


def test_they_are_taken_first_and_only_where_the_vocabulary_is_large():
    large = ggn(tagger(), loss_with(), batch())
    _ = large @ vectors(large.n)
    assert large.back_end == "token blocks"
    small = nn.Sequential(nn.Embedding(9, 3), nn.Linear(3, 9)).double()
    data = [(batch()[0][0] % 9, batch()[0][0] % 9)]
    operator = ggn(small, loss_with(), data)
    _ = operator @ vectors(operator.n)
    assert operator.back_end == "fwd"
    asked = ggn(small, loss_with(), data, back_end="token blocks")
    with pytest.raises(InputError, match="a token has 9 logits, fewer than 1024"):
        _ = asked @ vectors(asked.n)


@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"reduction": "sum"}, {"weight": torch.rand(VOCABULARY).double()}]
)
def test_smoothed_summed_and_weighted_cross_entropies(options):
    whole, blocks = (ggn(tagger(), loss_with(**options), batch(), back_end=w) for w in ("fwd", "token blocks"))
    probes = vectors(whole.n)
    assert gap(blocks @ probes, whole @ probes) < SAME


def test_other_losses_are_taken_whole():
    def with_penalty(m, b):
        logits = m(b[0])
        return loss_with()(m, b) + 1e-4 * logits.logsumexp(-1).square().mean()

    def squared(m, b):
        return m(b[0]).square().mean()

    for loss in (with_penalty, squared):  # the penalty of PaLM: a part of p p' that is not the cross-entropy's
        operator = ggn(tagger(), loss, batch())
        probes = vectors(operator.n)
        assert gap(operator @ probes, ggn(tagger(), loss, batch(), back_end="rev-rev") @ probes) < SAME
        assert operator.back_end == "fwd"


@pytest.mark.parametrize("params", ["head.*", "embed.*", ["mix.weight", "head.bias"]])
def test_a_part_of_the_parameters(params):
    whole, blocks = (ggn(tagger(), loss_with(), batch(), back_end=w, params=params) for w in ("fwd", "token blocks"))
    probes = vectors(whole.n)
    assert gap(blocks @ probes, whole @ probes) < SAME


@pytest.mark.parametrize("tied", [False, True])
def test_our_language_model(tied):
    torch.manual_seed(0)
    shape = ModelConfig(vocab_size=VOCABULARY, dim=8, layers=1, heads=2, context=8, tie_embeddings=tied)
    model, ids = LanguageModel(shape), torch.randint(VOCABULARY, (2, 7))
    blocks = ggn(model, next_token_loss, [ids], dtype=torch.float64)
    whole = ggn(model, next_token_loss, [ids], dtype=torch.float64, back_end="fwd")
    probes = vectors(blocks.n, 2)
    assert gap(blocks @ probes, whole @ probes) < 1e-6  # its norms are float32
    assert blocks.back_end == "token blocks"


def test_a_model_of_transformers_with_its_own_loss():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
    )
    model, ids = transformers.LlamaForCausalLM(shape), torch.randint(VOCABULARY, (2, 7))
    data = [{"input_ids": ids, "labels": ids}]
    blocks, whole = (
        ggn(model, lambda m, b: m(**b).loss, data, dtype=torch.float64, back_end=way) for way in ("token blocks", "fwd")
    )
    probes = vectors(blocks.n, 2)
    assert gap(blocks @ probes, whole @ probes) < 1e-6  # its norms are float32
