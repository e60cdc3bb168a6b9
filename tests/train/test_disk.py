"""A disk that refuses during a checkpoint: one sentence, nothing lost, and the same command goes on."""

from __future__ import annotations

from thalweg.runs import Run

LIMITED = (
    "__import__('resource').setrlimit(__import__('resource').RLIMIT_FSIZE, (60_000, 60_000)) or thalweg.cli.main(words)"
)
FAULTY = """
import errno, os
from thalweg.train import checkpoint

real = checkpoint.save_file

def full(tensors, path):
    real(tensors, path)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

def main(words):
    checkpoint.save_file = full
    import thalweg.cli
    return thalweg.cli.main(words)
"""


def measured(run: Run) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.records()]


def test_a_refusing_disk_loses_nothing(tmp_path, tiny, nursery):
    (tmp_path / "recipe.toml").write_text(tiny(steps=40).to_toml())
    command = ["train", "recipe.toml", "--device", "cpu", "--out"]
    assert nursery.run(*command, "whole", cwd=tmp_path).code == 0
    folder = tmp_path / "run"
    child = nursery.start(*command, "run", cwd=tmp_path)
    child.until(lambda: (folder / "checkpoints" / "step-00000010").exists())
    child.kill()
    child.wait()
    (tmp_path / "faulty.py").write_text(FAULTY)
    faulty = "__import__('runpy').run_path('faulty.py')['main'](words)"
    for call, words in ((LIMITED, "File too large"), (faulty, "No space left on device")):
        before = measured(Run.open(folder))
        points = [point.step for point in Run.open(folder).checkpoints()]
        result = nursery.run(*command, "run", cwd=tmp_path, call=call)
        assert result.code == 1
        sentence = [line for line in result.err.splitlines() if line.startswith("thalweg: ")]
        assert len(sentence) == 1
        assert words in sentence[0]
        assert "earlier checkpoints and the log are intact" in sentence[0]
        assert "Traceback" not in result.err
        run = Run.open(folder)
        assert run.status == "failed"
        assert measured(run)[: len(before)] == before
        assert [point.step for point in run.checkpoints()] == points
        assert not list((folder / "checkpoints").glob(".*"))
    assert nursery.run(*command, "run", cwd=tmp_path).code == 0
    assert measured(Run.open(folder)) == measured(Run.open(tmp_path / "whole"))
