"""Uploaded laws and tables on the shelf that designer and planner share; parsed once, then kept.

A law of curves is kept as the designer's own document, so that one name opens it in both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thalweg.errors import InputError
from thalweg.web.site.designer.shelf import Memo
from thalweg.web.site.uploads import plain_name, text_of

if TYPE_CHECKING:
    from thalweg.laws.budget import OwnLaws
    from thalweg.web.site.settings import Settings

__all__ = ["Laws"]

LARGEST = 32 * 2**20
CONTEXT = 2048  # tokens a sequence by which a table's batch becomes tokens


class Laws:
    """Keeps and reads them; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.shelf, self._parsed = settings.shelf, Memo(12)

    def take(self, data: bytes, name: str) -> str:
        """Keeps an upload and returns its name.

        Raises:
            InputError: it is too large, no text, or nothing that a plan can use.
        """
        title = plain_name(name) or "the file"
        if not data:
            raise InputError("no file is chosen: choose a law (.json) or a table (.csv)")
        if len(data) > LARGEST:
            raise InputError(f"{title} has {len(data) / 2**20:.0f} MiB: a law has at most {LARGEST // 2**20}")
        kept = json.dumps({"title": title, "text": text_of(title, data)}).encode()
        own = self._read(kept)
        if own.curve is not None:
            from thalweg.web.site.designer.fits import document

            kept = document(own.curve, None)
        key = self.shelf.put(kept)
        self._parsed.get(key, lambda: own)
        return key

    def get(self, key: str) -> OwnLaws:
        """The law of a name.

        Raises:
            InputError: it is not kept any more.
        """
        data = self.shelf.get(key)
        if data is None:
            raise InputError(
                f"law {key[:12]!r} is not here any more: this server kept it in memory; upload it again, or remove it"
            )
        return self._parsed.get(key, lambda: self._read(data))

    def joined(self, keys: Sequence[str]) -> OwnLaws:
        """All of them as one.

        Raises:
            InputError: one is gone, or two are of one kind.
        """
        from thalweg.laws.budget import OwnLaws

        found = OwnLaws()
        for key in keys:
            found = found.joined(self.get(key))
        return found

    def words(self, key: str) -> str:
        """What a law is, in a few words."""
        own = self.get(key)
        if own.sizes is not None:
            return f"{own.sizes.name} ({own.sizes.source})"
        if own.rates is not None:
            return f"{own.rates.name} ({own.rates.source})"
        if own.reuse is not None:
            return f"law of repetition, form {own.reuse.form}"
        if own.configuration is not None:
            return f"configuration law, {own.configuration.backbone}, {len(own.configuration.table)} runs"
        return f"law of curves, {own.curve.name if own.curve else ''}"

    def _read(self, data: bytes) -> OwnLaws:
        from thalweg.laws.budget import OwnLaws, read_law
        from thalweg.laws.budget.own import read_table

        try:
            content = json.loads(data)
            if "fitted" in content:  # the designer's document
                from thalweg.laws.store import from_json

                return OwnLaws(curve=from_json(content["law"]))
            title, text = content["title"], content["text"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"what is kept is no law ({type(error).__name__}): upload it again") from None
        if title.lower().endswith(".csv"):
            return read_table(text, title, CONTEXT)
        return read_law(text, title)
