from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.runs.lock import FolderLock, is_locked

HOLDER = """
import sys
from pathlib import Path
from thalweg.runs.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_one_holder_at_a_time(tmp_path: Path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert not is_locked(tmp_path)
    first.acquire()
    assert is_locked(tmp_path)
    with pytest.raises(InputError, match=f"is being written by process {os.getpid()}: wait for it"):
        second.acquire()
    first.release()
    first.release()
    assert not is_locked(tmp_path)
    second.acquire()
    second.release()


def test_lock_ends_with_its_process_however_it_dies(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=-1, stdout=-1, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(tmp_path)
        with pytest.raises(InputError, match=f"process {holder.pid}"):
            FolderLock(tmp_path).acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert not is_locked(tmp_path)
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.release()
