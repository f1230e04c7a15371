"""What people added to a PDF page: comments, and the values of form fields."""

import ctypes
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from processing.extractors.blocks import clean

Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""

_COMMENTS: Final = frozenset(
    {
        pdfium_c.FPDF_ANNOT_TEXT,
        pdfium_c.FPDF_ANNOT_FREETEXT,
        pdfium_c.FPDF_ANNOT_HIGHLIGHT,
        pdfium_c.FPDF_ANNOT_UNDERLINE,
        pdfium_c.FPDF_ANNOT_SQUIGGLY,
        pdfium_c.FPDF_ANNOT_STRIKEOUT,
        pdfium_c.FPDF_ANNOT_STAMP,
        pdfium_c.FPDF_ANNOT_CARET,
        pdfium_c.FPDF_ANNOT_INK,
    }
)
_LONGEST: Final = 100_000


class Note(NamedTuple):
    """A comment, or a form field with its name and value."""

    text: str
    box: Rectangle


def read_notes(page: pdfium.PdfPage) -> Iterator[Note]:
    """The page's comments and filled-in fields, in the order in which the file has them."""
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            text = _text(page, annotation)
            if text:
                yield Note(text, _box(annotation))
        finally:
            pdfium_c.FPDFPage_CloseAnnot(annotation)


def _text(page: pdfium.PdfPage, annotation: pdfium_c.FPDF_ANNOTATION) -> str:
    subtype = pdfium_c.FPDFAnnot_GetSubtype(annotation)
    if subtype in _COMMENTS:
        return clean(_string(pdfium_c.FPDFAnnot_GetStringValue, annotation, b"Contents"))
    if subtype == pdfium_c.FPDF_ANNOT_WIDGET and page.formenv is not None:
        return _field(page.formenv, annotation)
    return ""


def _field(form: pdfium.PdfFormEnv, annotation: pdfium_c.FPDF_ANNOTATION) -> str:
    value = clean(_string(pdfium_c.FPDFAnnot_GetFormFieldValue, form, annotation))
    if not value or value == "Off":
        return ""
    name = clean(_string(pdfium_c.FPDFAnnot_GetFormFieldAlternateName, form, annotation))
    name = name or clean(_string(pdfium_c.FPDFAnnot_GetFormFieldName, form, annotation))
    return f"{name}: {value}" if name else value


def _string(function: Callable[..., int], *arguments: object) -> str:
    """Call one of PDFium's functions that fill a buffer with UTF-16."""
    size = min(function(*arguments, None, 0), _LONGEST)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    function(*arguments, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace")


def _box(annotation: pdfium_c.FPDF_ANNOTATION) -> Rectangle:
    rectangle = pdfium_c.FS_RECTF()
    pdfium_c.FPDFAnnot_GetRect(annotation, ctypes.byref(rectangle))
    return (rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
