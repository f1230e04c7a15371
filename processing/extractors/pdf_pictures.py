"""A PDF page as a picture, and where a span of its text stands on it."""

import ctypes
import io
from mmap import mmap
from typing import Final

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from processing.extractors.pdf import open_pdf
from processing.extractors.pdf_text import PageText, read_page
from ragsite.extraction import Box, ExtractionRefused

_MAX_WIDTH: Final = 4_000
_MAX_PIXELS: Final = 25_000_000
_FORMATS: Final = {"webp": {"quality": 80, "method": 2}, "png": {"compress_level": 6}}
_GRID: Final = 1_000_000


def render(data: mmap | bytes, page: int, width: int, image_format: str) -> tuple[bytes, int, int]:
    """Draw a page (counted from 1): the picture's bytes, its width and height."""
    with open_pdf(data) as document:
        drawn = _page(document, page)
        page_width, page_height = drawn.get_size()
        scale = min(max(1, min(width, _MAX_WIDTH)) / page_width, (_MAX_PIXELS / (page_width * page_height)) ** 0.5)
        picture = drawn.render(scale=scale, may_draw_forms=True).to_pil().convert("RGB")
    encoded = io.BytesIO()
    picture.save(encoded, image_format, **_FORMATS[image_format])
    return encoded.getvalue(), picture.width, picture.height


def locate(data: mmap | bytes, page: int, start: int, end: int) -> list[Box]:
    """The boxes, a line each, of a span of the page's text."""
    with open_pdf(data) as document:
        found = _page(document, page)
        textpage = found.get_textpage()
        content = read_page(found, textpage)
        rectangles = [_around(textpage, low, high) for low, high in _by_line(content, content.units(start, end))]
        rectangles += [box for low, high, box in content.notes if low < end and start < high]
        return [_on_picture(found, rectangle) for rectangle in rectangles if rectangle is not None]


def _page(document: pdfium.PdfDocument, number: int) -> pdfium.PdfPage:
    if not 1 <= number <= len(document):
        raise ExtractionRefused("broken", f"This document has {len(document)} pages; there is no page {number}.")
    try:
        return document[number - 1]
    except pdfium.PdfiumError as error:
        raise ExtractionRefused("broken", f"Page {number} is damaged and cannot be shown.") from error


def _by_line(content: PageText, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Each printed line's part of the ranges, as one range."""
    parts = []
    for line in content.lines:
        inside = [(max(low, line.start), min(high, line.end)) for low, high in ranges]
        inside = [(low, high) for low, high in inside if low < high]
        if inside:
            parts.append((min(low for low, _ in inside), max(high for _, high in inside)))
    return parts


def _around(textpage: pdfium.PdfTextPage, low: int, high: int) -> tuple[float, float, float, float] | None:
    """The rectangle around some characters of one line, in points: left, bottom, right, top."""
    boxes = []
    rectangle = pdfium_c.FS_RECTF()
    for unit in range(low, high):
        index = pdfium_c.FPDFText_GetCharIndexFromTextIndex(textpage, unit)
        if index >= 0 and pdfium_c.FPDFText_GetLooseCharBox(textpage, index, ctypes.byref(rectangle)):
            boxes.append((rectangle.left, rectangle.bottom, rectangle.right, rectangle.top))
    boxes = [box for box in boxes if box[2] > box[0] and box[3] > box[1]]
    if not boxes:
        return None
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _on_picture(page: pdfium.PdfPage, rectangle: tuple[float, float, float, float]) -> Box:
    """From points on the page to fractions of its picture: rotation and crop are the renderer's own."""
    left, bottom, right, top = rectangle
    corners = [_device(page, left, bottom), _device(page, right, top)]
    xs, ys = sorted(x for x, _ in corners), sorted(y for _, y in corners)
    return Box(xs[0], ys[0], xs[1], ys[1])


def _device(page: pdfium.PdfPage, x: float, y: float) -> tuple[float, float]:
    device_x, device_y = ctypes.c_int(), ctypes.c_int()
    pdfium_c.FPDF_PageToDevice(page, 0, 0, _GRID, _GRID, 0, x, y, ctypes.byref(device_x), ctypes.byref(device_y))
    return min(max(device_x.value / _GRID, 0.0), 1.0), min(max(device_y.value / _GRID, 0.0), 1.0)
