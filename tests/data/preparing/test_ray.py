from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from preparing_parts import Killer, mixed_corpus, settings, tree
from thalweg.data import prepare
from thalweg.data.preparing.ops import AddScore, Clean, RemoveUnfit
from thalweg.errors import InputError

pytest.importorskip("ray", reason="Ray is not installed (extra scale)")


@pytest.mark.slow
def test_ray_gives_the_same_files_and_runs_the_steps_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One local Ray for everything it is asked: starting it takes most of the time."""
    import ray

    from thalweg.data.preparing.ray_engine import RayEngine

    texts = mixed_corpus(tmp_path / "texts")
    asked = settings(texts, tokens={"tokenizer": "bpe:300"})
    prepare(asked, tmp_path / "memory")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=":")  # where Killer is found
    engine = RayEngine(workers=2)
    try:
        prepare(asked, tmp_path / "ray", engine="ray")
        assert tree(tmp_path / "ray") == tree(tmp_path / "memory")
        assert prepare(asked, tmp_path / "ray", engine="ray").fresh is False
        scored = settings(texts, scores=[{"name": "length", "function": "given:f"}])
        prepare(scored, tmp_path / "killed", engine="ray", functions={"f": Killer(tmp_path / "dead", times=1)})
        prepare(scored, tmp_path / "alive", functions={"f": Killer(tmp_path / "dead", times=1)})
        assert len(list(tmp_path.glob("dead*"))) == 1
        assert tree(tmp_path / "killed") == tree(tmp_path / "alive")
        (texts / "one.jsonl").write_bytes(b"{")
        with pytest.raises(InputError, match=r"one\.jsonl line 1 \(byte 0\) is not JSON"):
            prepare(asked, tmp_path / "bad", engine="ray")
        steps = (Clean(), RemoveUnfit({"words": (2, 9)}), AddScore("length", "characters"))
        rows = [{"text": text} for text in ("a  b\r\n", "alone", " \n", "one two three")]
        data = ray.data.from_items(rows)
        for step in steps:
            data = data.map_batches(step, batch_format="pyarrow")
        assert sorted((row["text"], row["length"]) for row in data.take_all()) == [
            ("a  b", 4.0),
            ("one two three", 13.0),
        ]
    finally:
        engine.close()
    assert not ray.is_initialized()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_address_where_nothing_is_is_one_sentence_soon(tmp_path: Path, form: str):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    with pytest.raises(InputError, match="nothing answers there"):
        prepare({"inputs": [{"path": "stdlib"}]}, tmp_path / "out", engine="ray", address=form.format(port))
    assert time.perf_counter() - began < 20  # most of it is the import of Ray
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["nowhere", "host:", "host:port"])
def test_address_that_is_none_is_named(tmp_path: Path, address: str):
    with pytest.raises(InputError, match="should read host:port"):
        prepare({"inputs": [{"path": "stdlib"}]}, tmp_path / "out", engine="ray", address=address)
