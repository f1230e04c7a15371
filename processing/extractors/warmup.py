"""Making the sandbox warm: whatever a job will need is loaded before the machine's files are out of reach."""

import encodings
import importlib
import io
import pkgutil
import sys
import zipfile
from email.message import EmailMessage

from PIL import PngImagePlugin, WebPImagePlugin  # noqa: F401 (Pillow loads them lazily, by name)

from processing.extractors import (
    csv_table,
    docx,
    epub,
    html,
    json_data,
    mail,
    markdown,
    odf,
    pdf,
    pdf_pictures,
    plain_text,
    pptx,
    recognition,
    rtf,
    xls,
    xlsx,
)
from processing.extractors.operations import CONTAINERS, EXTRACTORS
from processing.extractors.parts import PartReader
from ragsite.extraction import ExtractionRefused, Limits

_DEEPEST_RECURSION = 20_000
_NOT_ELSEWHERE = {"mbcs", "oem", "idna", "punycode", "cp65001"}
_MAIN = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def warm_up() -> None:
    """Import every codec, load PDFium's fonts, and run each reader once."""
    sys.setrecursionlimit(_DEEPEST_RECURSION)  # deeply nested pages are legal; the memory limit ends the absurd
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in _NOT_ELSEWHERE:
            importlib.import_module(f"encodings.{module.name}")
    recognition.load()
    plain_text.extract("größer\n\nals".encode("cp1252") * 20, Limits(), _ignore)
    csv_table.extract(b"name,size\na,1\n", Limits(), _ignore)
    html.extract(b"<h1>warm</h1><p>up</p>", Limits(), _ignore)
    markdown.extract(b"# warm\n\nup", Limits(), _ignore)
    json_data.extract(b'{"warm": [{"up": 1}, {"up": null}]}', Limits(), _ignore)
    rtf.extract(rb"{\rtf1{\fonttbl{\f0\fcharset0 A;}}\f0 warm\par\u252 ?p}", Limits(), _ignore)
    mail.extract(_small_message(), Limits(), _ignore, PartReader(Limits(), EXTRACTORS, CONTAINERS))
    _warm_up_packages()
    pdf.extract(_small_pdf(), Limits(), _ignore)
    pdf_pictures.locate(_small_pdf(), 1, 0, 4)
    for image_format in ("webp", "png"):
        pdf_pictures.render(_small_pdf(), 1, 50, image_format)


def _warm_up_packages() -> None:
    docx.extract(_package("<document><body><p><r><t>warm</t></r></p></body></document>"), Limits(), _ignore)
    sheet = '<workbook><sheets><sheet name="warm" id="1"/></sheets></workbook>'
    xlsx.extract(_package(sheet), Limits(), _ignore)
    for refusing in (pptx.extract, epub.extract, odf.extract, xls.extract):
        try:
            refusing(_package("<presentation/>"), Limits(), _ignore)
        except ExtractionRefused:
            pass  # the way to its refusal loads the same


def _ignore(fraction: float, pages: int | None) -> None:
    """Nobody waits for this progress."""


def _small_message() -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["Date"] = "warm", "Ä <a@example.com>", "Mon, 1 Jan 2024 10:00:00 +0000"
    message.set_content("grün", cte="quoted-printable")
    message.add_alternative("<p>grün</p>", subtype="html", cte="base64")
    message.add_attachment("name,size\na,1\n", filename="ä.csv")
    return bytes(message)


def _small_pdf() -> bytes:
    """A page whose font is not in the file: PDFium looks through the machine's fonts to draw it."""
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj\n"
        b"4 0 obj<</Length 37>>stream\nBT /F1 12 Tf 9 50 Td (warm) Tj ET    \nendstream endobj\n"
        b"5 0 obj<</Type/Font/Subtype/TrueType/BaseFont/Unheard>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    )


def _package(main: str) -> bytes:
    """An Office file with this main part."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels", f'<Relationships><Relationship Type="{_MAIN}" Target="main.xml"/></Relationships>'
        )
        archive.writestr("main.xml", main)
    return packed.getvalue()
