"""What the sandbox can be asked to do with a file."""

import json
import os
import socket
from collections.abc import Callable
from mmap import mmap

from processing.extractors import pdf_pictures
from processing.extractors.blocks import Report
from processing.extractors.csv_table import extract as extract_csv
from processing.extractors.docx import extract as extract_docx
from processing.extractors.html import extract as extract_html
from processing.extractors.markdown import extract as extract_markdown
from processing.extractors.pdf import extract as extract_pdf
from processing.extractors.plain_text import extract as extract_text
from processing.sandbox.job import Operation, Reply, Task
from ragsite.extraction import CSV, DOCX, HTML, MARKDOWN, PDF, PLAIN_TEXT, Extraction, ExtractionRefused, Limits

Extractor = Callable[[mmap | bytes, Limits, Report], Extraction]

EXTRACTORS: dict[str, Extractor] = {
    PDF: extract_pdf,
    DOCX: extract_docx,
    HTML: extract_html,
    MARKDOWN: extract_markdown,
    CSV: extract_csv,
    PLAIN_TEXT: extract_text,
}


def extract(task: Task) -> Reply:
    """The file's text, as the JSON of an Extraction."""
    if not len(task.data):
        raise ExtractionRefused("empty", "The file is empty.")
    extractor = EXTRACTORS.get(task.request.content_type)
    if extractor is None:
        raise ExtractionRefused("unsupported", f"Files of the type {task.request.content_type} cannot be read here.")
    extraction = extractor(task.data, task.request.limits, task.report)
    return Reply(payload=json.dumps(extraction.as_json(), ensure_ascii=False).encode(errors="replace"))


def render_page(task: Task) -> Reply:
    """A PDF page as a picture."""
    wanted = task.request.arguments
    picture, width, height = pdf_pictures.render(task.data, wanted["page"], wanted["width"], wanted["format"])
    return Reply({"width": width, "height": height}, picture)


def locate(task: Task) -> Reply:
    """Where a span of a PDF page's text stands on its picture."""
    wanted = task.request.arguments
    boxes = pdf_pictures.locate(task.data, wanted["page"], wanted["start"], wanted["end"])
    return Reply({"boxes": [(box.left, box.top, box.right, box.bottom) for box in boxes]})


def capabilities(task: Task) -> Reply:
    """Which measures are in force, and what a job finds when it tries the doors."""
    tried = {"opens_a_file": _works(_open_file), "opens_a_socket": _works(_open_socket), "forks": _works(_fork)}
    return Reply({"measures": task.measures, "tried": tried})


def _works(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _open_file() -> None:
    os.close(os.open("/etc/passwd", os.O_RDONLY))


def _open_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


OPERATIONS: dict[str, Operation] = {
    "extract": extract,
    "render_page": render_page,
    "locate": locate,
    "capabilities": capabilities,
}
