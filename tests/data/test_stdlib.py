from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from thalweg.data import Corpus, corpus
from thalweg.errors import InputError


@pytest.fixture(scope="module")
def stdlib() -> Corpus:
    return corpus("stdlib")


def test_holds_prose_and_code_in_both_splits(stdlib: Corpus):
    sizes = stdlib.describe()["sizes"]
    assert set(sizes) == {"train/code", "train/prose", "validation/code", "validation/prose"}
    total = sum(entry["bytes"] for entry in sizes.values())
    assert total > 5_000_000
    held_out = sizes["validation/code"]["bytes"] + sizes["validation/prose"]["bytes"]
    assert 0.04 < held_out / total < 0.10
    assert sizes["validation/prose"]["bytes"] > 20_000


def test_leaves_out_tests_tables_and_strangers(stdlib: Corpus):
    names = [document.name for document in stdlib.documents]
    assert len(set(names)) == len(names)
    for domain in ("prose", "code"):
        ordered = [document.name for document in stdlib.documents if document.domain == domain]
        assert ordered == sorted(ordered)
    assert {"argparse.py", "json/decoder.py", "topics/compound"} <= set(names)
    parts = {part for name in names for part in name.split("/")[:-1]}
    assert parts.isdisjoint({"site-packages", "test", "tests", "idlelib", "encodings", "lib2to3", "__pycache__"})
    assert not [name for name in names if name.startswith(("_sysconfigdata", "pydoc_data", "sitecustomize"))]


def test_is_the_same_in_another_process_with_another_hash_seed(stdlib: Corpus):
    code = "from thalweg.data import corpus; c = corpus('stdlib'); print(c.fingerprint, len(c.documents))"
    environment = os.environ | {"PYTHONHASHSEED": "123", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == [stdlib.fingerprint, str(len(stdlib.documents))]


def test_validation_prose_is_not_in_training(stdlib: Corpus):
    def paragraphs(split: str) -> list[str]:
        texts = [d.text for d in stdlib.documents if d.split == split and d.domain == "prose"]
        return [" ".join(part.split()) for text in texts for part in text.split("\n\n") if len(part) > 80]

    seen, held_out = set(paragraphs("train")), paragraphs("validation")
    assert sum(len(part) for part in held_out if part in seen) < 0.02 * sum(map(len, held_out))


def test_every_stretch_holds_prose_in_proportion(stdlib: Corpus):
    total = sum(len(d.text) for d in stdlib.documents)
    prose = sum(len(d.text) for d in stdlib.documents if d.domain == "prose")
    quarters, before = [0, 0, 0, 0], 0
    for document in stdlib.documents:
        if document.domain == "prose":
            quarters[min(3, 4 * before // total)] += len(document.text)
        before += len(document.text)
    longest = max(len(d.text) for d in stdlib.documents if d.domain == "prose")
    assert all(abs(quarter - prose / 4) <= longest for quarter in quarters)


def test_description_says_version_and_share_and_is_json(stdlib: Corpus):
    described = json.dumps(stdlib.describe())
    assert ".".join(map(str, sys.version_info[:3])) in described
    assert "of the characters) spread evenly among" in described


@pytest.fixture
def other_stdlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    return tmp_path


def test_what_is_read_from_a_folder(other_stdlib: Path):
    for name in ("b.py", "a.py", "pkg/c.py", "pkg/test/t.py", "site-packages/s.py", "_sysconfigdata_x.py", "n.txt"):
        (other_stdlib / name).parent.mkdir(parents=True, exist_ok=True)
        (other_stdlib / name).write_bytes(b"x = 1\r\n")
    (other_stdlib / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    (other_stdlib / "empty.py").write_bytes(b"")
    code = [document for document in corpus("stdlib").documents if document.domain == "code"]
    assert [(document.name, document.text) for document in code] == [
        ("a.py", "x = 1\n"),
        ("b.py", "x = 1\n"),
        ("pkg/c.py", "x = 1\n"),
    ]


@pytest.mark.usefixtures("other_stdlib")
def test_zipped_library_is_refused():
    with pytest.raises(InputError, match=r"carries no sources under .* give the path of a text file"):
        corpus("stdlib")


def test_missing_topics_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="carries no documentation topics"):
        corpus("stdlib")
