"""Reading the parts of a ZIP container without being its victim: encrypted, damaged, or far larger than it looks."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap
from typing import Final

from lxml import etree

from ragsite.extraction import ExtractionRefused

_MAX_ENTRIES: Final = 10_000
_MAX_UNPACKED: Final = 1_000_000_000
_MAX_PART: Final = 200_000_000
_OLE_SIGNATURE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_FLAG: Final = 0x1
_ERR_RESOURCE_LIMIT: Final = 114
_ENTITY_FAULTS: Final = (etree.ErrorTypes.ERR_ENTITY_LOOP, _ERR_RESOURCE_LIMIT)

DAMAGED: Final = "This file is damaged or incomplete and could not be opened. Save it anew, or upload it again."
ENCRYPTED: Final = "This document is protected by a password. Remove the password and upload it again."
BOMB: Final = "This file unpacks to far more than a document holds and was not read."
DOCTYPE: Final = (
    "This file declares XML entities, with which a small file can unpack to a huge one (a bomb). No office program "
    "does that, and it was not read."
)


@contextmanager
def open_archive(data: mmap | bytes) -> Iterator["Archive"]:
    """Open a ZIP. Raises `encrypted`, `broken` or `too_large`."""
    if data[:8] == _OLE_SIGNATURE:
        raise ExtractionRefused("encrypted", ENCRYPTED)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            yield Archive(opened)
    except etree.XMLSyntaxError as error:
        if error.code == etree.ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError from error
        told = DOCTYPE if error.code in _ENTITY_FAULTS else DAMAGED
        raise ExtractionRefused("broken", told) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise ExtractionRefused("broken", DAMAGED) from error


class Archive:
    """The parts of an opened ZIP."""

    def __init__(self, opened: zipfile.ZipFile) -> None:
        self._opened = opened
        entries = opened.infolist()
        if any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries):
            raise ExtractionRefused("encrypted", ENCRYPTED)
        if len(entries) > _MAX_ENTRIES or sum(entry.file_size for entry in entries) > _MAX_UNPACKED:
            raise ExtractionRefused("too_large", BOMB)
        self.names = {entry.filename for entry in entries}

    def read(self, name: str) -> bytes | None:
        """A part's bytes; None if there is none of this name. Raises `too_large`."""
        if name not in self.names:
            return None
        with self._opened.open(name) as part:  # not read(): the size that a part declares may be a lie
            content = part.read(_MAX_PART + 1)
        if len(content) > _MAX_PART:
            raise ExtractionRefused("too_large", BOMB)
        return content

    def xml(self, name: str) -> etree._Element | None:
        """A part as XML, with no entity expanded and nothing fetched. Raises `broken`."""
        content = self.read(name)
        if content is None:
            return None
        return parse_xml(content)

    def each(self, name: str, *tags: str) -> Iterator[etree._Element]:
        """The elements of these local names in a part, one at a time, so that a large part takes little memory."""
        content = self.read(name) or b""
        refuse_doctype(content)
        events = etree.iterparse(
            io.BytesIO(content),
            events=("end",),
            tag=[f"{{*}}{tag}" for tag in tags],
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            remove_comments=True,
            huge_tree=True,
        )
        for _, element in events:
            yield element
            element.clear(keep_tail=False)
            while element.getprevious() is not None:
                del element.getparent()[0]


def parse_xml(content: bytes) -> etree._Element:
    """XML with no entity expanded and nothing fetched. Raises `broken` for one with a DOCTYPE."""
    refuse_doctype(content)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    return etree.fromstring(content, parser)


def refuse_doctype(content: bytes) -> None:
    """Raises `broken` for XML that declares entities, with which a small file can unpack to a huge one.

    Markup cannot stand inside of a text, so that to look for the letters is enough; the parser's own limit on what
    entities unpack to ends what hides them in an exotic encoding.
    """
    plain = content.replace(b"\x00", b"") if b"\x00" in content[:4] else content
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise ExtractionRefused("broken", DOCTYPE)
