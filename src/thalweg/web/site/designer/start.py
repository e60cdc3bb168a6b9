"""The way to a law: curves from the example, runs, files or text; which of them to fit; the fit's progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse

from thalweg.errors import InputError, suggest
from thalweg.web.site.designer.fits import Job, Order
from thalweg.web.site.designer.sources import EXAMPLE, Upload, of_runs
from thalweg.web.site.replies import part, reply, wants_part
from thalweg.web.site.uploads import one_file, plain_name, text_of
from thalweg.web.words import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from thalweg.laws import LossCurve
    from thalweg.web.site.designer.desk import Desk

__all__ = ["Start", "front"]

METHODS = {"default": "default", "plain": "plain (the paper's objective)", "reference": "reference (official)"}
LISTED = 200  # runs on the first page
TEXTS = ("pasted", "schedules_text")


def front(desk: Desk, request: Request, *, status: int = 200, **typed: Any) -> Response:
    """The first page: the sources of curves; ``typed`` is what a refused form held."""
    given = {"problem": "", "kept": None, "kept_name": "", "where": "", "pasted": "", "schedules_text": ""}
    runs = desk.runs()
    content = given | typed | {"runs": runs[:LISTED], "more": max(0, len(runs) - LISTED), "recent": desk.recent}
    limit = desk.settings.upload_bytes
    return reply(request, "site/designer_start.html", status=status, limit=limit, **content)


class Start:
    """The pages before the designer itself."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def upload(self, request: Request) -> Response:
        """Takes files and text; a refused form comes back as it was, its files kept."""
        async with request.form(max_files=20, max_fields=50, max_part_size=self.desk.settings.upload_bytes) as form:
            files = [one for one in form.getlist("curves") if isinstance(one, UploadFile) and one.filename]
            curves = [(one.filename or "", await one.read()) for one in files]
            given = form.get("schedules")
            schedules = (given.filename, await given.read()) if isinstance(given, UploadFile) else ("", b"")
            typed = {name: str(form.get(name, "")) for name in (*TEXTS, "kept")}
        return await run_in_threadpool(self._taken, request, curves, schedules, typed)

    def _taken(
        self, request: Request, curves: list[tuple[str, bytes]], schedules: tuple[str | None, bytes], typed: dict
    ) -> Response:
        from thalweg.web.site.designer.sources import read_upload

        kept, said = typed.pop("kept"), ""
        try:
            before = self.desk.upload(kept) if kept else Upload(())
            texts = tuple((plain_name(name), text_of(name, data)) for name, data in curves)
            if not texts and typed["pasted"].strip():
                texts = (("pasted.csv", typed["pasted"]),)
            plan = (plain_name(schedules[0] or ""), text_of(schedules[0] or "", schedules[1]))
            if not plan[1].strip() and typed["schedules_text"].strip():
                plan = ("schedules.toml", typed["schedules_text"])
            found = Upload(texts or before.curves, plan if plan[1].strip() else before.schedules)
            kept, said = self.desk.shelf.put(found.to_bytes()), found.names
            read_upload(found)
        except InputError as error:
            given = {"kept": kept if said else None, "kept_name": said, "where": "curves"}
            return front(self.desk, request, status=400, problem=str(error), **given, **typed)
        return RedirectResponse(f"/designer/curves?curves={kept}", 303)

    async def upload_law(self, request: Request) -> Response:
        """Takes a saved law."""
        name, data = await one_file(request, "law")
        return await run_in_threadpool(self._law_taken, request, name, data)

    def _law_taken(self, request: Request, name: str, data: bytes) -> Response:
        try:
            if not data:
                raise InputError("no file is chosen; choose a law.json that thalweg fit or this page has saved")
            found = self.desk.upload_law(text_of(name, data), plain_name(name))
        except InputError as error:
            return front(self.desk, request, status=400, problem=str(error), where="law")
        return RedirectResponse(f"/designer?law={found}", 303)

    def curves(self, request: Request) -> Response:
        """The curves of an upload, and which of them to fit with which law."""
        from thalweg.laws import LAWS

        name = request.query_params.get("curves", "")
        if request.query_params.getlist("run"):
            return self.of_runs(request)
        upload = self.desk.upload(name)
        found = self.desk.curves(name)
        chosen = request.query_params.getlist("train") or list(found)
        content: dict[str, Any] = {
            "curves": name,
            "source": "the example" if name == EXAMPLE else upload.names,
            "rows": [_row(curve) for curve in found.values()],
            "chosen": chosen,
            "laws": list(LAWS),
            "law": request.query_params.get("law", "multi-power"),
            "methods": METHODS,
        }
        return reply(request, "site/designer_curves.html", **content)

    def of_runs(self, request: Request) -> Response:
        """The curves of chosen runs become an upload, which the address names from then on."""
        query = request.query_params
        paths = query.getlist("run")
        upload = of_runs(self.desk.chosen_runs(paths), query.get("metric", ""))
        return RedirectResponse(f"/designer/curves?curves={self.desk.shelf.put(upload.to_bytes())}", 303)

    async def fit(self, request: Request) -> Response:
        """Starts a fit."""
        async with request.form(max_files=0, max_fields=2000) as form:
            fields = [(key, str(value)) for key, value in form.multi_items()]
        order = await run_in_threadpool(self._ordered, fields)
        self.desk.fits.order(order)
        return RedirectResponse(_progress_address(order), 303)

    def _ordered(self, fields: list[tuple[str, str]]) -> Order:
        from thalweg.laws import LAWS

        one = dict(fields)
        law, method = one.get("law", "multi-power"), one.get("method", "default")
        if law not in LAWS:
            raise InputError(f"law {law!r} is unknown; {suggest(law, LAWS)}")
        if method not in METHODS:
            raise InputError(f"method {method!r} is unknown; {suggest(method, METHODS)}")
        known = self.desk.curves(one.get("curves", ""))
        asked = {value for key, value in fields if key == "train"}
        if "all" in one:
            asked = set(known)
        if unknown := sorted(asked - set(known)):
            raise InputError(f"there is no curve {unknown[0]!r} among them; {suggest(unknown[0], known)}")
        if not asked:
            raise InputError("no curve is marked; mark at least one to fit")
        return Order(one["curves"], tuple(name for name in known if name in asked), law, method)  # type: ignore[arg-type]

    def progress(self, request: Request) -> Response:
        """Where a fit stands; once it is done, the designer with its law."""
        query = request.query_params
        fields = [(key, value) for key, value in query.multi_items() if key != "job"]
        order = self._ordered(fields)
        job = self.desk.fits.get(order.name)
        if job is not None and job.state == "done" and self.desk.shelf.get(job.result) is not None:
            address = self._designer(job)
            if not wants_part(request):
                return RedirectResponse(address, 303)
            return part("site/designer_progress_part.html", job=job, done=address, here="", order=order)
        here = _progress_address(order)
        if wants_part(request):
            return part("site/designer_progress_part.html", job=job, done="", here=here, order=order)
        return reply(request, "site/designer_progress.html", job=job, done="", here=here, order=order)

    def _designer(self, job: Job) -> str:
        """The designer's first address for a fitted law: twice the longest run, with the curves' own warmup."""
        curves = self.desk.curves(job.order.curves)
        warm = sorted(curves[name].warmup for name in job.order.train)[len(job.order.train) // 2]
        steps = 2 * max(len(curves[name].rates) for name in job.order.train)
        return "/designer?" + urlencode({"law": job.result, "steps": steps, "warmup": min(warm, steps // 2)})


def _progress_address(order: Order) -> str:
    pairs = [("curves", order.curves), *(("train", name) for name in order.train)]
    return "/designer/fit?" + urlencode([*pairs, ("law", order.law), ("method", order.method)])


def _row(curve: LossCurve) -> Mapping[str, Any]:
    after = curve.steps >= curve.warmup
    return {
        "name": curve.name,
        "points": whole(int(after.sum())),
        "steps": whole(len(curve.rates)),
        "warmup": whole(curve.warmup),
        "end": f"{curve.losses[-1]:.4f}",
        "notes": "; ".join(curve.notes),
    }
