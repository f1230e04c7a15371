"""EPUB books: the chapters in the order of reading, each a part that bears its heading as its name."""

import posixpath
from mmap import mmap
from typing import Final
from urllib.parse import unquote

from lxml import etree

from processing.extractors import html
from processing.extractors.archive import DAMAGED, ENCRYPTED, Archive, open_archive
from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.office_xml import child, children, local, value
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_PAGES: Final = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
_FONT_OBFUSCATION: Final = (b"http://www.idpf.org/2008/embedding", b"http://ns.adobe.com/pdf/enc#RC")


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The book's text; its tables of contents are left out."""
    with open_archive(data) as archive:
        _refuse_protected(archive)
        package = _package(archive)
        root = archive.xml(package)
        if root is None:
            raise ExtractionRefused("broken", DAMAGED)
        builder = TextBuilder(limits)
        chapters = _chapters(root, posixpath.dirname(package))
        for number, name in enumerate(chapters, 1):
            _add_chapter(builder, archive, name, limits)
            report(number / len(chapters), None)
        return builder.finish(*_metadata(root), page_kind="part")


def _refuse_protected(archive: Archive) -> None:
    """Raises `encrypted` for a book with copy protection; fonts are often disguised, which does not matter."""
    encryption = archive.xml("META-INF/encryption.xml")
    for method in encryption.iter("{*}EncryptionMethod") if encryption is not None else ():
        if (value(method, "Algorithm") or "").encode() not in _FONT_OBFUSCATION:
            raise ExtractionRefused("encrypted", ENCRYPTED.replace("a password", "copy protection or a password"))


def _package(archive: Archive) -> str:
    container = archive.xml("META-INF/container.xml")
    for rootfile in container.iter("{*}rootfile") if container is not None else ():
        return value(rootfile, "full-path") or ""
    raise ExtractionRefused("broken", DAMAGED)


def _chapters(root: etree._Element, folder: str) -> list[str]:
    """The parts in the order of reading, then those that it does not name (they are linked: notes, long tables)."""
    items = {value(item, "id"): item for item in children(child(root, "manifest"), "item")}
    spine = [items.get(value(entry, "idref")) for entry in children(child(root, "spine"), "itemref")]
    rest = [item for item in items.values() if item not in spine and not _is_contents(item)]
    pages = [item for item in [*spine, *rest] if item is not None and value(item, "media-type") in _PAGES]
    return [posixpath.normpath(posixpath.join(folder, unquote(value(item, "href") or ""))) for item in pages]


def _is_contents(item: etree._Element) -> bool:
    return "nav" in (value(item, "properties") or "").split()


def _add_chapter(builder: TextBuilder, archive: Archive, name: str, limits: Limits) -> None:
    content = archive.read(name)
    if content is None:
        builder.warn(f"The chapter {posixpath.basename(name)} is missing in the file.")
        return
    if not content.strip():
        return
    document = html.parse(content, limits)
    heading = next(document.iter("h1", "h2", "h3"), None)
    label = clean(heading.text_content())[:200] if heading is not None else html.title_of(document)
    builder.begin_page(label or None)
    body = document.find("body")
    html.add_page(builder, body if body is not None else document)


def _metadata(root: etree._Element) -> tuple[str | None, dict[str, str]]:
    metadata = child(root, "metadata")
    texts: dict[str, str] = {}
    for element in metadata if metadata is not None else []:
        texts.setdefault(local(element), clean(element.text or "")[:300])
    named = {"title": "title", "author": "creator", "subject": "subject"}
    found = {key: texts[name] for key, name in named.items() if texts.get(name)}
    return found.get("title"), found
