"""Making the sandbox warm: whatever a job will need is loaded before the machine's files are out of reach."""

import encodings
import importlib
import io
import pkgutil
import sys
import zipfile

from PIL import PngImagePlugin, WebPImagePlugin  # noqa: F401 (Pillow loads them lazily, by name)

from processing.extractors import csv_table, docx, html, markdown, pdf, pdf_pictures, plain_text
from ragsite.extraction import Limits

_DEEPEST_RECURSION = 20_000
_NOT_ELSEWHERE = {"mbcs", "oem", "idna", "punycode", "cp65001"}


def warm_up() -> None:
    """Import every codec, load PDFium's fonts, and run each reader once."""
    sys.setrecursionlimit(_DEEPEST_RECURSION)  # deeply nested pages are legal; the memory limit ends the absurd
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in _NOT_ELSEWHERE:
            importlib.import_module(f"encodings.{module.name}")
    plain_text.extract("größer\n\nals".encode("cp1252") * 20, Limits(), _ignore)
    csv_table.extract(b"name,size\na,1\n", Limits(), _ignore)
    html.extract(b"<h1>warm</h1><p>up</p>", Limits(), _ignore)
    markdown.extract(b"# warm\n\nup", Limits(), _ignore)
    docx.extract(_small_docx(), Limits(), _ignore)
    pdf.extract(_small_pdf(), Limits(), _ignore)
    pdf_pictures.locate(_small_pdf(), 1, 0, 4)
    for image_format in ("webp", "png"):
        pdf_pictures.render(_small_pdf(), 1, 50, image_format)


def _ignore(fraction: float, pages: int | None) -> None:
    """Nobody waits for this progress."""


def _small_pdf() -> bytes:
    """A page whose font is not in the file: PDFium looks through the machine's fonts to draw it."""
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj\n"
        b"4 0 obj<</Length 37>>stream\nBT /F1 12 Tf 9 50 Td (warm) Tj ET    \nendstream endobj\n"
        b"5 0 obj<</Type/Font/Subtype/TrueType/BaseFont/Unheard>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    )


def _small_docx() -> bytes:
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    document = f"""<Relationships><Relationship Type="{relation}" Target="word/document.xml"/></Relationships>"""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", document)
        archive.writestr("word/document.xml", "<document><body><p><r><t>warm</t></r></p></body></document>")
    return packed.getvalue()
