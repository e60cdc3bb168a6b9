"""The errors a user can mend, and the sentence that says how."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["InputError", "Interrupted", "MissingExtra", "suggest"]


class InputError(ValueError):
    """Unusable input: one sentence with the argument, the value and the fix. The command line exits with 2."""


class Interrupted(Exception):
    """Work was asked to stop and did, in a state that resumes. The command line exits with 130."""


class MissingExtra(InputError, ImportError):
    """An optional dependency is absent.

    Args:
        package: the module that could not be imported.
        extra: the extra of this package that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is not installed: pip install "thalweg[{extra}]"')


def suggest(name: str, options: Iterable[str]) -> str:
    """Says which known name is nearest to ``name``, else lists all: the tail of an error sentence."""
    known = sorted(options)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
