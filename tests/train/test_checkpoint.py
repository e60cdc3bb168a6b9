"""What is packed comes back bit for bit; what is damaged is named."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Generator

import thalweg.train
from thalweg.errors import InputError
from thalweg.nn import LanguageModel, ModelConfig
from thalweg.train.checkpoint import load_checkpoint, load_model, pack, save_checkpoint, unpack

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool)
tensors = st.builds(
    lambda shape, dtype, seed: (torch.randn(shape, generator=Generator().manual_seed(seed)) / (seed % 3)).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), tensors)
keys = st.one_of(st.text(max_size=3), st.integers(0, 12), st.sampled_from(["1", "a/b", "a", "b", "/"]))
nestings = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=3).map(tuple), st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


def equal(one, two) -> bool:
    """Equality of values and types, nan equal to itself, zero not to minus zero."""
    if type(one) is not type(two):
        return False
    if isinstance(one, torch.Tensor):
        same = one.dtype == two.dtype and one.shape == two.shape
        bits = [tensor.flatten().view(torch.uint8) for tensor in (one, two) if tensor.numel()]
        return same and (not bits or torch.equal(*bits))
    if isinstance(one, dict):
        return list(one) == list(two) and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(equal(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(two)) or (one == two and math.copysign(1, one) == math.copysign(1, two))
    return one == two


@settings(max_examples=100, deadline=None)
@given(nestings)
def test_pack_and_unpack_are_inverse_through_json_and_safetensors(value):
    found: dict[str, torch.Tensor] = {}
    text = json.dumps(pack(value, found))
    with tempfile.TemporaryDirectory() as folder:
        save_file(found, Path(folder, "x"))
        assert equal(unpack(json.loads(text), load_file(Path(folder, "x"))), value)


def test_other_types_are_refused_with_their_path():
    with pytest.raises(TypeError, match="/a/1 is a set"):
        pack({"a": [1, {2}]}, {})
    with pytest.raises(TypeError, match=r"/a has \(1, 2\)"):
        pack({"a": {(1, 2): 3}}, {})


def made(**changes) -> tuple[LanguageModel, torch.optim.Optimizer]:
    """A model and an optimizer with some state."""
    config = ModelConfig(dim=16, layers=1, heads=2, context=16).replace(**changes)
    model = LanguageModel(config, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    ids = torch.arange(17)[None]
    model(ids[:, :-1], targets=ids[:, 1:]).loss.backward()
    optimizer.step()
    return model, optimizer


def test_round_trip_of_model_optimizer_and_extra(tmp_path):
    model, optimizer = made()
    save_checkpoint(tmp_path, model, optimizer, {"step": 3, "rate": 0.1})
    other = LanguageModel(model.config)
    another = torch.optim.AdamW(other.parameters(), lr=0.3)
    assert load_checkpoint(tmp_path, other, another) == {"step": 3, "rate": 0.1}
    assert equal(dict(other.state_dict()), dict(model.state_dict()))
    assert equal(another.state_dict(), optimizer.state_dict())


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    model, optimizer = made(tie_embeddings=True)
    model.register_parameter("twin", model.model.embed_tokens.weight)
    save_checkpoint(tmp_path, model, optimizer, {})
    stored = load_file(tmp_path / "model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == sum(p.numel() for p in model.parameters())
    assert sum(tensor.shape == (256, 16) for tensor in stored.values()) == 1
    other, _ = made(tie_embeddings=True)
    other.register_parameter("twin", other.model.embed_tokens.weight)
    load_model(tmp_path, other)
    assert torch.equal(other.get_parameter("twin"), model.get_parameter("twin"))
    assert other.get_parameter("twin").data_ptr() == other.model.embed_tokens.weight.data_ptr()


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, None])
def test_truncated_or_absent_files_give_one_sentence(tmp_path, name, share):
    model, optimizer = made()
    save_checkpoint(tmp_path, model, optimizer, {"step": 3})
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if share is not None:
        (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=f"cannot be read .*{name}.*delete it to resume from an older one"):
        load_checkpoint(tmp_path, model, optimizer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 2, "state": {}}', "has format 2; this version reads 1"),
        ("[]", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"format": 1}', "cannot be read"),
        ('{"format": 1, "state": {"dict": []}}', "cannot be read"),
        ('{"format": 1, "state": {"dict": [["optimizer", {"tensor": "/none"}]]}}', "cannot be read"),
    ],
)
def test_another_format_or_a_strange_state_gives_one_sentence(tmp_path, content, message):
    model, optimizer = made()
    save_checkpoint(tmp_path, model, optimizer, {})
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_checkpoint(tmp_path, model, optimizer)


def test_weights_of_another_model_are_refused(tmp_path):
    model, optimizer = made()
    save_checkpoint(tmp_path, model, optimizer, {})
    for changes in ({"dim": 32}, {"layers": 2}, {"tie_embeddings": True}, {"qk_norm": False}):
        with pytest.raises(InputError, match="does not fit the model"):
            load_model(tmp_path, made(**changes)[0])


def test_nothing_in_the_room_can_execute_a_checkpoint():
    folder = Path(thalweg.train.__file__).parent
    sources = "".join(path.read_text() for path in [*folder.glob("*.py"), *(folder.parent / "runs").glob("*.py")])
    for word in ("pickle", "torch.load", "torch.save", "marshal", " eval("):
        assert word not in sources
