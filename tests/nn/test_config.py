from __future__ import annotations

import tomllib

import pytest
import tomli_w

from thalweg.errors import InputError
from thalweg.nn import SIZES, ModelConfig, size
from thalweg.nn.attention import MIXERS
from thalweg.nn.config import FFN_NAMES, MIXER_NAMES, NORM_NAMES
from thalweg.nn.cost import count_parameters
from thalweg.nn.ffn import FFNS
from thalweg.nn.norms import NORMS


def test_derived_fields_follow_their_rule_and_are_plain() -> None:
    config = ModelConfig(dim=128, heads=4)
    assert (config.kv_heads, config.head_dim, config.hidden) == (4, 32, 320)
    wider = config.replace(dim=256)
    assert (wider.kv_heads, wider.head_dim, wider.hidden) == (4, 64, 704)
    chosen = config.replace(hidden=100, kv_heads=2).replace(dim=256)
    assert (chosen.kv_heads, chosen.head_dim, chosen.hidden) == (2, 64, 100)


def test_round_trip_through_toml() -> None:
    config = size("mini", vocab_size=300, kv_heads=2, tie_embeddings=True, preset="mup")
    assert ModelConfig.from_dict(tomllib.loads(tomli_w.dumps(config.to_dict()))) == config
    assert ModelConfig.from_dict({"size": "mini", "dim": 64}) == size("mini", dim=64)
    assert hash(config) == hash(config.replace())


@pytest.mark.parametrize(
    ("name", "millions"), [("tiny", 0.79), ("mini", 6.3), ("small", 14.2), ("base30", 25.2), ("gpt124", 85.0)]
)
def test_named_sizes_have_the_stated_matrix_parameters(name: str, millions: float) -> None:
    """The specification's 12 · layers · dim² matrices; rounding hidden to 64 moves that by up to 5 %."""
    assert count_parameters(SIZES[name]).hidden / 1e6 == pytest.approx(millions, rel=0.05)


def test_names_in_the_config_are_the_registered_ones() -> None:
    assert (set(MIXER_NAMES), set(FFN_NAMES), set(NORM_NAMES)) == (set(MIXERS), set(FFNS), set(NORMS))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 100, "heads": 3}, "dim=100 is not a multiple of heads=3"),
        ({"heads": 4, "kv_heads": 3}, "heads=4 is not a multiple of kv_heads=3"),
        ({"head_dim": 15}, "head_dim=15 is odd"),
        ({"layers": 0}, "layers=0 must be a whole number of at least 1"),
        ({"dim": 128.0}, "dim=128.0 must be a whole number"),
        ({"heads": True}, "heads=True must be a whole number"),
        ({"kv_heads": -1}, "kv_heads=-1 must be"),
        ({"vocab_size": 0}, "vocab_size=0 must be"),
        ({"rope_theta": 1.0}, "rope_theta=1.0 must be a number above 1"),
        ({"norm_eps": float("nan")}, "norm_eps=nan must be a number above 0"),
        ({"z_loss": -1.0}, "z_loss=-1.0 must be a number of at least 0"),
        ({"qk_norm": 1}, "qk_norm=1 must be true or false"),
        ({"preset": "mpu"}, "did you mean 'mup'"),
        ({"mixer": "atn"}, "did you mean 'attn'"),
    ],
)
def test_bad_values_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        ModelConfig(**changes)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'layer'.*did you mean 'layers'"):
        size("tiny").replace(layer=2)
    with pytest.raises(InputError, match=r"size='tyni'.*did you mean 'tiny'"):
        size("tyni")
