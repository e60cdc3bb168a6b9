"""What a run was made with: enough to repeat it, nothing about its user."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

__all__ = ["environment", "now"]

PACKAGES = ("thalweg", "torch", "numpy", "scipy", "safetensors", "tokenizers", "transformers")


def environment(device: str) -> dict[str, object]:
    """Versions, device, threads, platform, command and time, as JSON can write them.

    Args:
        device: the name of the device that computes, as torch writes it.
    """
    torch = sys.modules.get("torch")  # asked only if training has loaded it
    return {
        "started": now(),
        "device": device,
        "threads": torch.get_num_threads() if torch else os.environ.get("OMP_NUM_THREADS"),
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "command": shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]) if sys.argv else "",
    }


def now() -> str:
    """The time in UTC to the millisecond, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
