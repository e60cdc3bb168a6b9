"""Files that a form carries, as names for messages and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile

from thalweg.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["one_file", "plain_name", "text_of"]


async def one_file(request: Request, field: str) -> tuple[str, bytes]:
    """Name and content of the file in a form's field; both empty where none was chosen."""
    async with request.form(max_files=1, max_fields=5) as form:
        given = form.get(field)
        return (given.filename or "", await given.read()) if isinstance(given, UploadFile) else ("", b"")


def plain_name(name: str) -> str:
    """A file's name without folders, short enough for messages."""
    return name.replace("\\", "/").rpartition("/")[2][-80:]


def text_of(name: str, data: bytes) -> str:
    """The text of a file.

    Raises:
        InputError: it is not UTF-8; where is said.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{plain_name(name)} is not text ({error.reason} at byte {error.start}); give UTF-8") from None
