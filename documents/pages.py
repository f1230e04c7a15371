"""Pages as pictures, and where on them a passage stands. PDFs only: other formats are shown as text."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from documents.models import Document, DocumentText
from ragsite.extraction import PDF, Box
from ragsite.sandbox import SandboxClient

PICTURE_WIDTH = 1200
T = TypeVar("T")


class NoSuchPage(LookupError):
    """The document has no picture of such a page."""


def page_picture(document: Document, number: int) -> bytes:
    """A page as WebP, drawn once and then kept beside the document's file.

    Raises NoSuchPage, FileNotFoundError when the document's file is gone, ExtractionRefused when the page cannot be
    drawn, SandboxUnavailable when nothing can be now.
    """
    _check(document, number)
    name = f"{document.owner_id}/{document.id}/pages/{number}-{PICTURE_WIDTH}.webp"
    if default_storage.exists(name):
        with default_storage.open(name) as kept:
            return kept.read()
    data = _with_file(
        document, lambda client, file: client.render_page(file, number, width=PICTURE_WIDTH, image_format="webp").data
    )
    _keep(document, name, data)
    return data


def _keep(document: Document, name: str, data: bytes) -> None:
    """Store a picture, unless its document was deleted while it was drawn; a full disk only means drawing it again."""
    if not Document.objects.filter(owner=document.owner_id, id=document.id).exists():
        return
    try:
        target = Path(default_storage.path(name))
    except NotImplementedError:  # a storage elsewhere (S3) puts an object whole or not at all
        default_storage.save(name, ContentFile(data))
        return
    with contextlib.suppress(OSError):
        _replace(target, data)


def _replace(target: Path, data: bytes) -> None:
    """Write a file so that readers see all of it or nothing, however many write it at once."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(draft, target)
    except OSError:
        os.unlink(draft)
        raise


def passage_boxes(document: Document, number: int, start: int, end: int) -> list[Box]:
    """Where ``text[start:end]`` of the document stands on a page: a box a line, as fractions of the page's size."""
    _check(document, number)
    pages = DocumentText.objects.of(document).values_list("pages", flat=True).first() or []
    page = next((entry for entry in pages if entry["number"] == number), None)
    if page is None:
        raise NoSuchPage
    first, last = max(start, page["start"]) - page["start"], min(end, page["end"]) - page["start"]
    if first >= last:
        return []
    return _with_file(document, lambda client, file: client.locate(file, number, first, last))


def _check(document: Document, number: int) -> None:
    if document.content_type != PDF or not 1 <= number <= (document.page_count or 0):
        raise NoSuchPage


def _with_file(document: Document, ask: "Callable[..., T]") -> T:
    if not document.file:  # a row without the name of one: the storage would refuse it with another error
        raise FileNotFoundError
    client = SandboxClient(settings.LAYOUT.sandbox_socket)
    with document.file.open() as file:
        return ask(client, file)
