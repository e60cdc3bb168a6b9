"""Sequences and networks: the official encoding by hand, causality, both backbones, and their files."""

import math

import pytest
import torch

from laws.configuration.made import sweep
from thalweg.errors import InputError
from thalweg.laws.configuration import ConfigurationLaw, score, sequence
from thalweg.laws.configuration.network import Pretrained, Regressor, Tiny, Training
from thalweg.laws.configuration.sequences import Bytes, Words, pack

CONFIG = {"optimizer": "adamw", "params": 134.218e6, "tokens": 2.684e9, "learning_rate": 0.008, "beta1": 0.9}
CONFIG |= {"warmup": 2000.0, "weight_decay": 0.1, "batch_size": 128.0, "steps": 5120.0}


def test_official_encoding_by_hand():
    pieces = sequence(CONFIG, numbers="official")
    text = "".join(piece if isinstance(piece, str) else "#" for piece in pieces)
    assert text == (
        "optimizer: adamw\nmodel size: #\ndata size: #\nmax step: #\nlearning rate: #\nbatch size: #\nwarmup: #\n"
        "weight decay: #\nbeta1: 0.9\nfinal loss: "
    )
    numbers = [piece for piece in pieces if not isinstance(piece, str)]
    assert numbers == pytest.approx([1.34218, 2.684, 5.12, 80.0, 12.8, 20.0, 10.0])


def test_log_and_text_encodings():
    log = [piece for piece in sequence(CONFIG) if not isinstance(piece, str)]
    wanted = [math.log(v) for v in (1.34218, 2.684, 5.12, 80.0, 12.8)] + [math.log1p(20.0), math.log1p(10.0)]
    assert log == pytest.approx([*(v / 3 for v in wanted), -math.log(0.1) / 3])
    assert "data size: 2.684\n" in sequence(CONFIG, numbers="text")
    assert all(isinstance(piece, str) for piece in sequence(CONFIG, numbers="text"))
    assert sequence(CONFIG | {"frac": 0.5})[-1] == "loss: "
    with pytest.raises(InputError, match="did you mean 'log'"):
        sequence(CONFIG, numbers="lgo")


def test_padding_and_later_positions_change_nothing():
    table = sweep(6)
    tokens = Words([piece for i in range(6) for piece in sequence(table.config(i)) if isinstance(piece, str)])
    ids, values, mask, last = (torch.as_tensor(part) for part in pack(table, tokens))
    model = Regressor(Tiny(tokens.size, Training(), 64, torch.Generator().manual_seed(0))).eval()
    with torch.no_grad():
        plain = model(ids, values, mask, last)
        wide = [torch.nn.functional.pad(part, (0, 3), value=1) for part in (ids, values, mask)]
        assert model(*wide, last) == pytest.approx(plain, abs=1e-5)
        moved = values + mask * 0.1
        assert (model(ids, moved, mask, last) - plain).abs().min() > 1e-6


def test_unseen_words_are_refused():
    with pytest.raises(InputError, match="no fitted run has 'optimizer: lion'"):
        Words(["optimizer: adamw\n"]).ids("optimizer: lion\n")
    assert Bytes().ids("lr") == [108, 114]


def test_tiny_learns_and_comes_back(tmp_path):
    law = ConfigurationLaw.fit(sweep(), backbone="tiny", members=2, epochs=40, width=32, layers=1, lr=3e-3, batch=32)
    rows = sweep(60, seed=1)
    assert score(law, rows).ratio < 0.6
    again = ConfigurationLaw.load(law.save(tmp_path / "law.json"))
    found = law.predict(rows)
    assert again.predict(rows).loss == pytest.approx(found.loss, abs=1e-6)
    assert (found.high > found.low).all()
    with pytest.raises(InputError, match="options of a network"):
        ConfigurationLaw.fit(sweep(20), backbone="tiny", epoch=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny random Llama without a tokenizer."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    transformers.LlamaModel(config).save_pretrained(folder)
    return folder


def test_a_language_model_of_transformers(checkpoint, tmp_path):
    """The same code with a random model: frozen epochs leave the backbone as it is, later ones learn."""
    options = {"batch": 32, "warmup_steps": 5, "numbers": "log"}
    table, rows = sweep(80), sweep(40, seed=1)
    first = Pretrained(checkpoint).trunk.state_dict()
    law = ConfigurationLaw.fit(table, backbone=str(checkpoint), epochs=0, frozen_epochs=2, **options)
    kept = law.model.models[0].backbone.trunk.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in first.items())
    frozen = score(law, table).mae
    law = ConfigurationLaw.fit(table, backbone=str(checkpoint), epochs=25, frozen_epochs=1, lr=3e-3, **options)
    assert score(law, table).mae < 0.8 * frozen
    again = ConfigurationLaw.load(law.save(tmp_path / "law.json"))
    assert again.predict(rows).loss == pytest.approx(law.predict(rows).loss, abs=1e-5)


def test_folders_without_a_model(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match="holds no model"):
        Pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 20}')
    with pytest.raises(InputError, match="bytes need 256"):
        ConfigurationLaw.fit(sweep(40), backbone=str(tmp_path))


def test_numbers_reach_the_head_by_their_mlp():
    """The number token's embedding is the MLP's output and nothing else."""
    tokens = Words(["a"])
    model = Regressor(Tiny(tokens.size, Training(width=32, layers=1), 8, torch.Generator().manual_seed(0))).eval()
    ids, values = torch.tensor([[1, 0, 1]]), torch.tensor([[0.0, 0.7, 0.0]])
    mask, last = torch.tensor([[False, True, False]]), torch.tensor([2])
    with torch.no_grad():
        embedded = model.backbone.embed(ids)
        embedded[0, 1] = model.encoder(torch.tensor([0.7]))
        by_hand = model.head(model.backbone(embedded, ids)[0, 2])
        assert model(ids, values, mask, last) == pytest.approx(by_hand, abs=1e-6)
    assert by_hand.isfinite().all()
