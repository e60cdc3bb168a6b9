"""Parts on Ray Data: a dataset of part numbers, mapped over by the function that the other engines call.

Every node must see the inputs and the output folder under the same paths. A task whose process dies is tried again by
Ray. Ray keeps its own logs under its temporary folder (/tmp/ray unless RAY_TMPDIR says otherwise).
"""

from __future__ import annotations

import json
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from thalweg.errors import InputError, Interrupted, MissingExtra

__all__ = ["RayEngine", "join_ray", "quiet"]

OBJECT_STORE = 128 << 20
"""Bytes of a local Ray's object store; only part numbers and counts go through it."""
SECONDS_TO_CONNECT = 3.0


def join_ray(workers: int = 0, address: str = "") -> tuple[Any, bool]:
    """Ray, ready for tasks, and whether it was started or joined here (then ``shutdown`` is the caller's to call).

    Args:
        workers: CPUs of a local Ray; 0 takes all.
        address: see ``RayEngine``.

    Raises:
        InputError: nothing answers at the address.
        MissingExtra: Ray is not installed.
    """
    try:
        with quiet():
            import ray
    except ImportError:
        raise MissingExtra("ray", "scale") from None
    if address and address != "auto":
        _check_reachable(address)
    if ray.is_initialized():
        return ray, False
    options: dict[str, Any] = {"address": address} if address else {"address": "local"}
    if not address:
        options |= {"num_cpus": workers or os.cpu_count(), "object_store_memory": OBJECT_STORE}
        options |= {"include_dashboard": False}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        with quiet():
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"address = {address!r}: no Ray cluster to join ({reason}): start one first") from None
    return ray, True


class RayEngine:
    """Ray Data, on this machine or on a cluster.

    Args:
        workers: processes of a local Ray; 0 takes one a core.
        address: host:port of a cluster, ``auto`` for the one this machine belongs to, or empty for a local one.

    Raises:
        InputError: nothing answers at the address.
        MissingExtra: Ray is not installed.
    """

    def __init__(self, workers: int = 0, address: str = "") -> None:
        self._ray, self._ours = join_ray(workers, address)
        with quiet():
            import ray.data  # noqa: F401

    def run(self, job: Callable[[int], dict], numbers: Sequence[int], done: Callable, stop: Callable) -> dict:
        """See ``engines.Engine``."""
        if not numbers:
            return {}
        found: dict[int, dict[str, Any]] = {}
        for batch in self._batches(job, numbers):
            for number, result, failed in zip(batch["number"], batch["result"], batch["failed"], strict=True):
                if failed:
                    raise _revived(failed, result)
                found[int(number)] = json.loads(result)
                done(len(found))
            if stop():
                raise Interrupted(f"{len(found)} of {len(numbers)} parts are done and kept")
        return found

    def _batches(self, job: Callable[[int], dict], numbers: Sequence[int]) -> Iterator[Any]:
        kept = self._ray.put(job)
        get = self._ray.get

        def work(batch: Any) -> Any:
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            outcomes = [_attempt(lambda: get(kept), int(number)) for number in batch["number"]]
            return {
                "number": list(batch["number"]),
                "result": [result for result, _ in outcomes],
                "failed": [failed for _, failed in outcomes],
            }

        with quiet():
            context = self._ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            rows = [{"number": int(number)} for number in numbers]
            data = self._ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(work, batch_size=1)
            yield from data.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy")

    def close(self) -> None:
        """Ends a Ray that was started here."""
        if self._ours:
            with quiet():
                self._ray.shutdown()


def _attempt(load: Callable[[], Callable[[int], dict]], number: int) -> tuple[str, str]:
    """The result as JSON, or the message and kind of what is the user's to mend; other errors are Ray's to report."""
    try:
        job = load()
    except Exception as error:  # Ray would try for ever again what it cannot unpack
        reason = (str(error).strip().split("\n") or [""])[-1]
        return f"a Ray worker cannot load the steps ({reason}): given functions must be importable there", "input"
    try:
        return json.dumps(job(number)), ""
    except InputError as error:
        return str(error), "input"
    except OSError as error:
        return json.dumps([error.errno or 0, error.strerror or str(error), str(error.filename or "")]), "disk"


def _revived(kind: str, message: str) -> Exception:
    if kind == "input":
        return InputError(message)
    number, reason, name = json.loads(message)
    return OSError(number, reason, name)


def _check_reachable(address: str) -> None:
    """Ray itself waits for minutes at an address where nothing is."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"address = {address!r} should read host:port, ray://host:port or auto")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"address = {address!r}: nothing answers there ({error}): is the Ray cluster up?") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Ray's warnings about itself from the caller; they are no part of what it does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(ImportError):
            logging.getLogger("ray").setLevel(logging.ERROR)
            logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield
