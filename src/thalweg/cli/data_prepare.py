"""thalweg data prepare: documents in, a prepared folder out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.data.preparing import Outcome

__all__ = ["prepare"]


def prepare(
    file: Path,
    /,
    *,
    out: Path,
    engine: str = "memory",
    workers: int = 0,
    address: str = "",
    fresh: bool = False,
    json: bool = False,
) -> None:
    """Read, normalise, filter, score, deduplicate and tokenise documents; the same command resumes.

    Parameters
    ----------
    file
        What to do (TOML).
    out
        Folder for the result.
    engine
        memory (this process), pool (processes) or ray (Ray Data).
    workers
        Processes of pool and of a local Ray; 0 takes one a core.
    address
        host:port of a Ray cluster that sees the same files.
    fresh
        Replace what another preparation left in the folder.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit
    from thalweg.cli.progress import Bar, flag_on_interrupt
    from thalweg.data.preparing import load_preparation
    from thalweg.data.preparing import prepare as run

    preparation = load_preparation(file)
    with flag_on_interrupt() as stop, Bar(str(out), 1) as bar:
        known = {"engine": engine, "workers": workers, "address": address, "fresh": fresh}

        def moved(name: str, done: int, total: int) -> None:
            bar.title, bar.total = f"{out} {name}", total
            bar.update(done)

        outcome = run(preparation, out, **known, progress=moved, stop=stop)
    if json:
        rates = {
            "seconds": outcome.seconds,
            "documents_per_second": _rate(outcome) if outcome.fresh else None,
            "fresh": outcome.fresh,
        }
        emit("data prepare", {"out": str(out), "engine": engine, **rates, "manifest": dict(outcome.manifest)})
        return
    _print(outcome)


def _rate(outcome: Outcome) -> float:
    return outcome.manifest["steps"][0]["documents"] / outcome.seconds


def _print(outcome: Outcome) -> None:
    from thalweg.cli.output import table

    manifest = outcome.manifest
    first, *steps = manifest["steps"]
    rows = [("read", "", f"{first['documents']:,}", "", f"{first['bytes'] / 1e6:.2f}", _unreadable(manifest))]
    for step in steps:
        sizes = (f"{step[key] / 1e6:.2f}" for key in ("bytes_in", "bytes"))
        counts = (f"{step[key]:,}" for key in ("documents_in", "documents"))
        before, after = counts
        megabytes, left = sizes
        rows.append((step["step"], before, after, megabytes, left, _reasons(step["removed"])))
    table(("step", "documents in", "out", "MB in", "out", "removed"), rows)
    print()
    read, left = first["documents"], manifest["documents"]
    repeats = sum(step["removed"].get("duplicate", 0) for step in steps if step["step"] in ("exact", "minhash"))
    tokens = f", {manifest['tokens']:,} tokens" if manifest["tokens"] else ""
    print(f"{outcome.folder}: {left:,} of {read:,} documents, {manifest['bytes'] / 1e6:.2f} MB{tokens}")
    print(f"duplicates: {repeats:,} ({repeats / max(1, read):.2%} of what was read)")
    if outcome.fresh:
        print(f"{outcome.seconds:.1f} s, {_rate(outcome):,.0f} documents/s")
    else:
        print("already done: inputs and steps are those of the manifest")


def _reasons(removed: dict[str, int], shown: int = 4) -> str:
    words = [f"{reason} {count:,}" for reason, count in list(removed.items())[:shown]]
    return ", ".join(words) + (" …" if len(removed) > shown else "")


def _unreadable(manifest: dict[str, Any] | Any) -> str:
    return _reasons(manifest["unreadable"]["reasons"])
