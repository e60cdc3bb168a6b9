"""thalweg doctor: what is installed, what is missing and how to get it."""

from __future__ import annotations

__all__ = ["doctor"]

DEVELOPERS = ("test", "lint", "docs")
"""Extras that nobody needs who only uses the package."""


def doctor(*, json: bool = False) -> int:
    """Print versions, devices and missing extras; exit code 1 if something the base needs is missing.

    Parameters
    ----------
    json
        Print one JSON object.
    """
    import platform

    from thalweg import __version__
    from thalweg.cli.output import emit, table

    wanted = _wanted()
    base = {name: _version(name) for name in wanted.pop("")}
    extras = {extra: {name: _version(name) for name in names} for extra, names in wanted.items()}
    lacking = [extra for extra, names in extras.items() if None in names.values()]
    result = {
        "thalweg": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "base": base,
        "extras": extras,
        "devices": _devices() if base["torch"] else [],
        "install": {extra: f'pip install "thalweg[{extra}]"' for extra in lacking},
    }
    if json:
        emit("doctor", result)
    else:
        rows = [("thalweg", __version__), ("python", result["python"]), ("platform", result["platform"])]
        rows += [(name, version or "MISSING") for name, version in base.items()]
        rows += [(f"device {k}", name) for k, name in enumerate(result["devices"])]
        for extra, names in extras.items():
            there = ", ".join(f"{name} {version or 'missing'}" for name, version in names.items())
            rows.append((f"extra {extra}", there + (f"  ->  {result['install'][extra]}" if extra in lacking else "")))
        table(("what", "found"), rows)
    return 1 if None in base.values() else 0


def _wanted() -> dict[str, list[str]]:
    """The packages of each extra, and of the base under "", as this package's metadata names them."""
    import re
    from importlib.metadata import requires

    found: dict[str, list[str]] = {"": []}
    for line in requires("thalweg") or ():
        name, extra = re.match(r"[\w.-]+", line), re.search(r"extra == ['\"](\w+)['\"]", line)
        if name and (extra is None or extra.group(1) not in DEVELOPERS):
            found.setdefault(extra.group(1) if extra else "", []).append(name.group())
    return found


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> list[str]:
    import torch

    found = [f"cpu, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        found += [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found
