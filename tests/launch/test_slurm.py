"""The script for SLURM: its lines, its shell, and what it does where ``srun`` and ``scontrol`` are stand-ins."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.launch.slurm import Slurm, slurm_script

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
RECIPES = [Path("/home/me/a b.toml"), Path("/home/me/$c.toml"), Path("/home/me/d.toml")]


def test_what_is_asked_for():
    asked = Slurm(time="1-12", threads=4, gpus=2, processes=2, memory="16G", partition="long", at_once=8)
    lines = slurm_script(RECIPES, Path("/scratch/runs"), asked, name="mine").splitlines()
    assert lines[0] == "#!/bin/bash"
    given = {line.split("=")[0].removeprefix("#SBATCH --"): line for line in lines if line.startswith("#SBATCH")}
    assert given["array"] == "#SBATCH --array=0-2%8"
    assert given["cpus-per-task"] == "#SBATCH --cpus-per-task=8"
    assert given["gpus-per-node"] == "#SBATCH --gpus-per-node=2"
    assert given["output"] == "#SBATCH --output=/scratch/runs/%x-%A_%a.out"
    assert given["signal"] == "#SBATCH --signal=B:USR1@120"
    assert {"requeue", "time", "mem", "partition", "job-name"} <= given.keys()
    assert "account" not in given
    (command,) = [line for line in lines if line.startswith("srun")]
    assert command.startswith("srun torchrun --nnodes=1 --nproc-per-node=2 ")
    assert command.endswith("--device cuda &")


@needs_bash
@pytest.mark.parametrize("asked", [Slurm(), Slurm(machines=2, processes=4, gpus=4, shard=True, setup=("true",))])
def test_bash_reads_it(tmp_path, asked):
    (tmp_path / "job.sh").write_text(slurm_script(RECIPES, Path("/scratch/runs"), asked))
    subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)


@needs_bash
@pytest.mark.parametrize(
    ("last", "stop", "code"), [("exit 0", False, 0), ("exit 2", False, 2), ("sleep 20", True, 130)]
)
def test_a_task_trains_its_recipe_and_requeues_itself_where_time_is_up(tmp_path, last, stop, code):
    script = tmp_path / "job.sh"
    script.write_text(slurm_script(RECIPES, tmp_path / "runs", Slurm(threads=3)))
    note = f'printf "%s\\n" "$@" > {tmp_path}/ran\n'
    waits = f'trap "kill %1; exit 130" TERM\n{note}{last} &\necho $$ > {tmp_path}/pid\nwait\n'
    stand_ins = {
        "srun": waits if stop else f"{note}{last}\n",
        "scontrol": f"echo $@ >> {tmp_path}/queue\n",
        "scancel": f"echo $@ >> {tmp_path}/cancelled; kill -TERM $(cat {tmp_path}/pid)\n",
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}")
        (tmp_path / name).chmod(0o755)
    task = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "77", "SLURM_JOB_ID": "78"}
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    child = subprocess.Popen(["bash", script], env={**os.environ, **task, **path})
    if stop:
        deadline = time.monotonic() + 10
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        child.send_signal(signal.SIGUSR1)
    assert child.wait(15) == code
    ran = (tmp_path / "ran").read_text().splitlines()
    assert ran[:5] == ["thalweg", "train", "/home/me/$c.toml", "--out", f"{tmp_path}/runs/$c"]
    assert ran[5:] == ["--device", "cpu", "--threads", "3"]
    assert (tmp_path / "queue").exists() == stop
    if stop:
        assert (tmp_path / "queue").read_text() == "requeue 77_1\n"
        assert (tmp_path / "cancelled").read_text() == "--signal=TERM 78\n"


def test_refusals():
    for wrong in ({"time": "soon"}, {"threads": 0}, {"memory": "16 G"}, {"partition": "a\nb"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Slurm(**wrong)
    with pytest.raises(InputError, match="at least one TOML file"):
        slurm_script([], Path("runs"))
    with pytest.raises(InputError, match="two recipes are named 'a'"):
        slurm_script([Path("x/a.toml"), Path("y/a.toml")], Path("runs"))
    with pytest.raises(InputError, match="leave out spaces"):
        slurm_script([Path("a.toml")], Path("my runs"))
