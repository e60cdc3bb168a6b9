from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.runs.checkpoints import checkpoint_folder, clear_leftovers, list_checkpoints, prune


def save(root: Path, step: int, content: str = "weights") -> None:
    with checkpoint_folder(root, step) as folder:
        (folder / "model.bin").write_text(content)
        (folder / "inside").mkdir()
        (folder / "inside" / "more.json").write_text("{}")


def save_and_raise(root: Path, step: int, error: Exception) -> None:
    with checkpoint_folder(root, step) as folder:
        (folder / "model.bin").write_text("new")
        raise error


def save_onto_full_disk(root: Path, step: int) -> None:
    with checkpoint_folder(root, step) as folder:
        (folder / "model.bin").write_text("some")
        Path("/dev/full").write_bytes(b"more")


def steps(root: Path) -> list[int]:
    return [checkpoint.step for checkpoint in list_checkpoints(root)]


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".")]


def test_names_order_and_content(tmp_path: Path):
    for step in (200, 5, 123_456_789):
        save(tmp_path, step)
    found = list_checkpoints(tmp_path)
    assert [c.folder.name for c in found] == ["step-00000005", "step-00000200", "step-123456789"]
    found[1].check()
    assert (found[1].folder / "model.bin").read_text() == "weights"
    assert list_checkpoints(tmp_path / "none") == ()


def test_unfinished_ones_are_not_listed(tmp_path: Path):
    save(tmp_path, 1)
    with checkpoint_folder(tmp_path, 2) as folder:
        (folder / "model.bin").write_text("half")
        assert steps(tmp_path) == [1]
    (tmp_path / "step-00000003").mkdir()  # no marker: made by something else
    assert steps(tmp_path) == [1, 2]


def test_error_inside_leaves_earlier_ones_and_nothing_else(tmp_path: Path):
    save(tmp_path, 1, "old")
    for step in (1, 2):
        with pytest.raises(KeyError):
            save_and_raise(tmp_path, step, KeyError())
    assert steps(tmp_path) == [1]
    assert (list_checkpoints(tmp_path)[0].folder / "model.bin").read_text() == "old"
    assert hidden(tmp_path) == []


def test_full_disk_says_what_is_intact(tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    save(tmp_path, 1)
    words = r"No space left .*step-00000002: earlier checkpoints and the log are intact"
    with pytest.raises(OSError, match=words) as e:
        save_onto_full_disk(tmp_path, 2)
    assert e.value.errno == 28
    assert steps(tmp_path) == [1]
    assert hidden(tmp_path) == []


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from thalweg.runs.checkpoints import checkpoint_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for step, size in ((1, 1000), (2, 100_000)):
    try:
        with checkpoint_folder(Path(sys.argv[1]), step) as folder:
            save_file({"w": np.zeros(size, dtype=np.uint8)}, folder / "model.safetensors")
    except OSError as error:
        print(error)
"""


def test_safetensors_refused_by_the_system_says_the_same(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "File too large while writing checkpoint" in done.stdout
    assert "step-00000002: earlier checkpoints and the log are intact" in done.stdout
    assert steps(tmp_path) == [1]
    assert hidden(tmp_path) == []


def test_same_step_is_replaced(tmp_path: Path):
    save(tmp_path, 1, "old")
    save(tmp_path, 1, "new")
    assert (list_checkpoints(tmp_path)[0].folder / "model.bin").read_text() == "new"
    assert hidden(tmp_path) == []


def test_killed_while_replacing_keeps_the_old_one(tmp_path: Path):
    save(tmp_path, 1, "old")
    os.rename(tmp_path / "step-00000001", tmp_path / ".replaced-step-00000001")
    assert (list_checkpoints(tmp_path)[0].folder / "model.bin").read_text() == "old"
    clear_leftovers(tmp_path)
    assert [c.folder.name for c in list_checkpoints(tmp_path)] == ["step-00000001"]
    assert hidden(tmp_path) == []


def test_killed_after_replacing_keeps_the_new_one(tmp_path: Path):
    save(tmp_path, 1, "old")
    os.rename(tmp_path / "step-00000001", tmp_path / ".replaced-step-00000001")
    save(tmp_path, 1, "new")
    save(tmp_path, 2)
    os.rename(tmp_path / "step-00000002", tmp_path / ".deleted-step-00000002")
    (tmp_path / ".writing-step-00000003").mkdir()
    clear_leftovers(tmp_path)
    assert steps(tmp_path) == [1]
    assert (list_checkpoints(tmp_path)[0].folder / "model.bin").read_text() == "new"
    assert hidden(tmp_path) == []


def test_pruning_keeps_the_newest_and_the_chosen(tmp_path: Path):
    for step in range(1, 9):
        save(tmp_path, step)
    prune(tmp_path, 2, always={3, 8})
    assert steps(tmp_path) == [3, 6, 7, 8]
    prune(tmp_path, 10)
    assert steps(tmp_path) == [3, 6, 7, 8]
    with pytest.raises(InputError, match="keep is 0"):
        prune(tmp_path, 0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.bin", b"weigh", r"model\.bin has 5 bytes instead of 7"),
        ("model.bin", None, r"model\.bin has 0 bytes instead of 7"),
        ("inside/more.json", b"{}}", r"more\.json has 3 bytes instead of 2"),
        ("complete.json", b"{", r"complete\.json is damaged"),
        ("complete.json", b"{}", r"complete\.json is damaged"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, content: bytes | None, words: str):
    save(tmp_path, 4)
    (checkpoint,) = list_checkpoints(tmp_path)
    path = checkpoint.folder / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        checkpoint.check()
