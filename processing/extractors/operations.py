"""What the sandbox can be asked to do with a file."""

import json
import os
import socket
from collections.abc import Callable

from processing.extractors import (
    csv_table,
    docx,
    epub,
    html,
    json_data,
    mail,
    markdown,
    odf,
    outlook,
    pdf,
    pdf_pictures,
    pictures,
    plain_text,
    pptx,
    rtf,
    xls,
    xlsx,
)
from processing.extractors.parts import ContainerExtractor, Extractor, PartReader
from processing.sandbox.job import Operation, Reply, Task
from ragsite import extraction as kinds
from ragsite.extraction import ExtractionRefused

EXTRACTORS: dict[str, Extractor] = {
    kinds.PDF: pdf.extract,
    kinds.DOCX: docx.extract,
    kinds.PPTX: pptx.extract,
    kinds.XLSX: xlsx.extract,
    kinds.XLS: xls.extract,
    kinds.ODT: odf.extract,
    kinds.ODS: odf.extract,
    kinds.ODP: odf.extract,
    kinds.RTF: rtf.extract,
    kinds.EPUB: epub.extract,
    kinds.JSON: json_data.extract,
    kinds.JSON_LINES: json_data.extract_lines,
    kinds.HTML: html.extract,
    kinds.MARKDOWN: markdown.extract,
    kinds.CSV: csv_table.extract,
    kinds.PLAIN_TEXT: plain_text.extract,
    **dict.fromkeys(kinds.PICTURES, pictures.extract),
}
CONTAINERS: dict[str, ContainerExtractor] = {kinds.EML: mail.extract, kinds.MSG: outlook.extract}


def extract(task: Task) -> Reply:
    """The file's text, as the JSON of an Extraction."""
    if not len(task.data):
        raise ExtractionRefused("empty", "The file is empty.")
    kind, limits = task.request.content_type, task.request.limits
    if kind in CONTAINERS:
        found = CONTAINERS[kind](task.data, limits, task.report, PartReader(limits, EXTRACTORS, CONTAINERS))
    elif kind in EXTRACTORS:
        found = EXTRACTORS[kind](task.data, limits, task.report)
    else:
        raise ExtractionRefused("unsupported", f"Files of the type {kind} cannot be read here.")
    return Reply(payload=json.dumps(found.as_json(), ensure_ascii=False).encode(errors="replace"))


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
