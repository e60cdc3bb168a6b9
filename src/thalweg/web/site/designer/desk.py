"""What the designer's pages share: the shelf, the fits, parsed laws and curves, and the schedules compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from thalweg.errors import InputError
from thalweg.web.site.designer.fits import Fits, Order, document
from thalweg.web.site.designer.shelf import Memo
from thalweg.web.site.designer.sources import EXAMPLE, Upload, example, read_upload

if TYPE_CHECKING:
    from thalweg.laws import Law, LossCurve
    from thalweg.runs import Run
    from thalweg.runs.index import Listing, RunSummary
    from thalweg.web.site.designer.outlook import Outlook
    from thalweg.web.site.designer.state import Frame, State
    from thalweg.web.site.settings import Settings

__all__ = ["Desk", "Fitted"]

GONE = "{what} is not here any more: it was kept in the memory of a server that has stopped or needed the room; {fix}"
RECENT = 8


@dataclass(frozen=True, eq=False, slots=True)
class Fitted:
    """A law and what it was fitted to; None for a law that was uploaded."""

    law: Law
    order: Order | None


class Desk:
    """One a server; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shelf = settings.shelf
        self.fits = Fits(self.curves, self.keep_law, lambda name: self.shelf.get(name) is not None)
        self._laws, self._curves, self._rivals, self._looks = Memo(16), Memo(4), Memo(48), Memo(48)
        self._recent: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(1, "designer-rivals")

    def keep_law(self, data: bytes) -> str:
        """Puts a law's document on the shelf and on the list of recent ones; returns its name."""
        name = self.shelf.put(data)
        fitted = self._parsed(data)
        said = f"{fitted.law.name}, fitted to {', '.join(fitted.order.train)}" if fitted.order else fitted.law.name
        recent = {name: said} | {key: value for key, value in self._recent.items() if key != name}
        self._recent = dict(list(recent.items())[:RECENT])
        return name

    @property
    def recent(self) -> Mapping[str, str]:
        """The last laws by name, newest first, and what they are."""
        return self._recent

    def upload_law(self, text: str, name: str) -> str:
        """Keeps an uploaded law.

        Raises:
            InputError: it is none.
        """
        from thalweg.laws.store import from_json

        return self.keep_law(document(from_json(text, name or "the text"), None))

    def fitted(self, name: str) -> Fitted:
        """The law of a name.

        Raises:
            InputError: it is not on the shelf any more.
        """
        data = self.shelf.get(name)
        if data is None:
            raise InputError(GONE.format(what=f"law {name[:12]!r}", fix="fit it again or upload its law.json"))
        try:
            return self._laws.get(name, lambda: self._parsed(data))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{name[:12]!r} is no law ({type(error).__name__}); fit one") from None

    def _parsed(self, data: bytes) -> Fitted:
        from thalweg.laws.store import from_json

        content = json.loads(data)
        told = content["fitted"]
        order = None
        if told is not None:
            order = Order(told["curves"], tuple(told["train"]), method=told["method"])
        return Fitted(from_json(content["law"]), order)

    def upload(self, name: str) -> Upload:
        """The upload of a name, or the example.

        Raises:
            InputError: it is not on the shelf any more.
        """
        if name == EXAMPLE:
            return example()
        data = self.shelf.get(name)
        if data is None:
            raise InputError(GONE.format(what=f"upload {name[:12]!r}", fix="upload the curves again"))
        try:
            return Upload.from_bytes(data)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{name[:12]!r} holds no curves ({type(error).__name__}); upload some") from None

    def curves(self, name: str) -> dict[str, LossCurve]:
        """The curves of an upload."""
        return self._curves.get(name, lambda: read_upload(self.upload(name)))

    def rivals(self, law: str, steps: int, frame: Frame, *, wait: float | None) -> Mapping[str, Outlook | str] | None:
        """Cosine, WSD and the optimum under a frame; kept, since an edit does not change them.

        None where they are not there after ``wait`` seconds; they are then computed on, for the next who asks.
        """
        from thalweg.web.site.designer.outlook import rivals

        known = self.fitted(law).law
        future = self._rivals.get((law, steps, frame), lambda: self._pool.submit(rivals, known, steps, frame))
        try:
            return future.result(wait)
        except TimeoutError:
            return None

    def look(self, state: State) -> Outlook:
        """The outlook of the state's schedule."""
        from thalweg.web.site.designer.outlook import look

        def make() -> Outlook:
            rates = state.schedule.rates(state.steps)
            return look(self.fitted(state.law).law, "yours", state.schedule, rates)

        return self._looks.get((state.law, state.steps, str(state.schedule)), make)

    @cached_property
    def _listing(self) -> Listing:
        from thalweg.runs.index import Listing, known_runs

        return Listing(self.settings.root, known_runs(self.settings.root), outside=False)

    def runs(self) -> tuple[RunSummary, ...]:
        """The runs under the root that have logged something, newest first."""
        return tuple(run for run in self._listing.refresh() if run.steps_done and run.status != "unreadable")

    def chosen_runs(self, paths: list[str]) -> list[Run]:
        """The runs of some paths, each looked up in the listing.

        Raises:
            InputError: there is no such run.
        """
        from thalweg.runs import Run

        known = {run.path for run in self._listing.refresh()}
        for path in paths:
            if path not in known:
                raise InputError(f"there is no run {path!r} under the run root; it may have been moved or deleted")
        return [Run.open(self.settings.root / path) for path in dict.fromkeys(paths)]
