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

DAMAGED: Final = "This file is damaged or incomplete and could not be opened. Save it anew, or upload it again."
ENCRYPTED: Final = "This document is protected by a password. Remove the password and upload it again."
BOMB: Final = "This file unpacks to far more than a document holds and was not read."
DOCTYPE: Final = "This file contains a document type definition, which no office program writes; it was not read."


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
        raise ExtractionRefused("broken", DAMAGED) from error
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
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
        root = etree.fromstring(content, parser)
        if root.getroottree().docinfo.doctype:
            raise ExtractionRefused("broken", DOCTYPE)
        return root
