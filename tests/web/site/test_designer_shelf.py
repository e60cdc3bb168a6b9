"""What the designer keeps: bounded in memory, by its hash, on disk only where that is allowed."""

from __future__ import annotations

from hashlib import sha256

import pytest

from thalweg.web.site.designer.shelf import Memo, Shelf, name_of


def test_bytes_come_back_by_their_hash():
    shelf = Shelf(None)
    name = shelf.put(b"curves")
    assert name == sha256(b"curves").hexdigest()[:32] == name_of(b"curves")
    assert shelf.get(name) == b"curves"
    assert shelf.get("0" * 32) is None


def test_the_least_lately_used_goes_first():
    shelf = Shelf(None, limit=250)
    names = [shelf.put(bytes([k]) * 100) for k in range(2)]
    assert shelf.get(names[0]) is not None  # now used later than the second
    third = shelf.put(b"x" * 100)
    assert [shelf.get(name) is not None for name in (*names, third)] == [True, False, True]


def test_the_same_bytes_count_once():
    shelf = Shelf(None, limit=250)
    other = shelf.put(b"y" * 100)
    for _ in range(5):
        shelf.put(b"x" * 100)
    assert shelf.get(other) is not None


def test_a_folder_outlives_the_memory(tmp_path):
    name = Shelf(tmp_path / "designer").put(b"law")
    assert [path.name for path in (tmp_path / "designer").iterdir()] == [name]
    assert Shelf(tmp_path / "designer").get(name) == b"law"
    (tmp_path / "designer" / name).write_bytes(b"changed")
    assert Shelf(tmp_path / "designer").get(name) is None


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "", "a" * 31, "A" * 32, "secret"])
def test_no_name_leaves_the_folder(tmp_path, name):
    (tmp_path / "secret").write_text("s")
    (tmp_path / "designer").mkdir()
    (tmp_path / "designer" / "secret").write_text("s")
    assert Shelf(tmp_path / "designer").get(name) is None


def test_links_are_not_followed(tmp_path):
    folder = tmp_path / "designer"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(b"s")
    (folder / name_of(b"s")).symlink_to(tmp_path / "outside")
    assert Shelf(folder).get(name_of(b"s")) is None


def test_results_are_kept_and_dropped():
    memo, made = Memo(2), []

    def make(key):
        return memo.get(key, lambda: made.append(key) or key)

    assert [make(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]
