"""A document's file as it was uploaded, whole or in part."""

import re
from typing import IO, Any

from django.core.files.storage import default_storage
from django.http import FileResponse

from documents.models import Document
from ragsite.api.problems import Problem

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


class _Part:
    """The next ``length`` bytes of a file."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self._left = file, length

    def read(self, size: int) -> bytes:
        block = self._file.read(min(size, self._left))
        self._left -= len(block)
        return block

    def close(self) -> None:
        self._file.close()


class _Download(FileResponse):
    block_size = 1 << 16


def download(document: Document, wanted: str) -> FileResponse:
    """The file as a download, or the one range of bytes that a Range header names (more than one: all of it).

    Always an attachment of no type, because it is a stranger's HTML as likely as not. Raises Problem 404 and 416.
    """
    start, end = _span(wanted, document.size)
    try:
        file = _opened(document.file.name or "", start, end)
    except FileNotFoundError as error:
        raise Problem(404, "file_missing", "The file is gone from the storage. Upload it again.") from error
    partial = (start, end) != (0, document.size)
    response = _Download(
        _Part(file, end - start),
        as_attachment=True,
        filename=document.filename,
        content_type="application/octet-stream",
        status=206 if partial else 200,
    )
    if partial:
        response["Content-Range"] = f"bytes {start}-{end - 1}/{document.size}"
    response["Content-Length"] = str(end - start)
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, no-cache"
    return response


def _opened(name: str, start: int, end: int) -> Any:
    if not name:
        raise FileNotFoundError
    if hasattr(default_storage, "stream"):
        return default_storage.stream(name, start, end)
    file = default_storage.open(name)
    file.seek(start)
    return file


def _span(wanted: str, size: int) -> tuple[int, int]:
    """Start and end (exclusive) of what a Range header asks for (RFC 9110, section 14.2)."""
    match = _RANGE.match(wanted.strip())
    if not match or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if last and first and int(last) < int(first):
        return 0, size
    if start >= min(end, size):
        headers = {"Content-Range": f"bytes */{size}"}
        raise Problem(416, "range_not_satisfiable", f"The file has {size} bytes.", headers=headers)
    return start, end
