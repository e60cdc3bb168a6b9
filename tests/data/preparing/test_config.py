from __future__ import annotations

from pathlib import Path

import pytest

from thalweg.data import Preparation, load_preparation
from thalweg.errors import InputError

WHOLE = """
on_bad = "skip"
part_mb = 32

[[inputs]]
path = "texts"
scores = ["edu"]

[normalise]
unicode = "NFKC"

[filters]
preset = "gopher"
[filters.limits]
words = [10, 1000]

[[scores]]
name = "prose"
model = "c.npz"
minimum = 0.5

[decontaminate]
tests = ["t.jsonl"]

[exact]
[minhash]
threshold = 0.8
[tokens]
tokenizer = "bpe:4096"
"""


def test_whole_file_is_read_and_round_trips(tmp_path: Path):
    (tmp_path / "p.toml").write_text(WHOLE)
    found = load_preparation(tmp_path / "p.toml")
    assert found.filters.all_limits()["words"] == (10, 1000)
    assert found.filters.all_limits()["stop_words"][0] == 2
    assert found.score_names == ("edu", "prose")
    assert found.minhash.threshold == 0.8
    assert found.exact is not None
    assert Preparation.from_dict(found.to_dict()) == found
    assert [each.name for each in found.inputs] == ["texts"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[input]]", "unknown key 'input': did you mean 'inputs'"),
        ('[[inputs]]\npth = "a"', "unknown key 'inputs[0].pth': did you mean 'path'"),
        ('[[inputs]]\npath = "a"\n[minhash]\nthresold = 1', "unknown key 'minhash.thresold': did you mean 'threshold'"),
        ('[[inputs]]\npath = "a"\nformat = "csv"', "inputs"),
        ("inputs = []", "inputs is empty"),
        ("", "missing required field `inputs`"),
        ('[[inputs]]\npath = "a"\n[minhash]\nthreshold = 1.5', "minhash.threshold = 1.5"),
        ('[[inputs]]\npath = "a"\n[minhash]\nseed = -1', "seed = -1"),
        ('[[inputs]]\npath = "a"\n[filters]\npreset = "gofer"', "did you mean 'gopher'"),
        ('[[inputs]]\npath = "a"\n[filters.limits]\nword = [1, 2]', "did you mean 'words'"),
        ('[[inputs]]\npath = "a"\n[filters.limits]\nwords = [2, 1]', "must not exceed"),
        ('[[inputs]]\npath = "a"\n[[scores]]\nname = "text"\nstatistic = "words"', "'text' is taken"),
        ('[[inputs]]\npath = "a"\n[[scores]]\nname = "q"', "give one of statistic, model"),
        ('[[inputs]]\npath = "a"\n[[scores]]\nname = "q"\npositive = ["a"]', "belong together"),
        ('[[inputs]]\npath = "a"\n[[scores]]\nname = "q"\nstatistic = "wrds"', "did you mean 'words'"),
        ('[[inputs]]\npath = "a"\n[[scores]]\nname = "q"\nfunction = "f"', "should read package.module:name"),
        ('[[inputs]]\npath = "a"\nscores = ["q"]\n[[scores]]\nname = "q"\nstatistic = "words"', "'q' is made twice"),
        ('[[inputs]]\npath = "a"\n[decontaminate]\ntests = []', "decontaminate: tests"),
        ('[[inputs]]\npath = "a"\n[tokens]\ntokenizer = "bpe:12"', "write bpe:SIZE with a size of at least 257"),
        ('[[inputs]]\npath = "a"\n[tokens]\ntrain_mb = 0', "train_mb = 0"),
        ('part_mb = 0\n[[inputs]]\npath = "a"', "part_mb = 0"),
        ("a = [", "is not TOML"),
    ],
)
def test_mistakes_are_named_with_the_file(tmp_path: Path, text: str, words: str):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InputError, match=r"p\.toml") as caught:
        load_preparation(tmp_path / "p.toml")
    assert words in str(caught.value)


def test_absent_file(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        load_preparation(tmp_path / "p.toml")
