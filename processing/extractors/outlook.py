"""Outlook's messages (.msg): the same as an e-mail message, kept in an OLE container by numbers instead of names."""

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from mmap import mmap
from typing import Final

import compressed_rtf
import olefile

from processing.extractors import mail, rtf
from processing.extractors.archive import DAMAGED
from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.parts import PartReader
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_SUBJECT, _SENT, _RECEIVED, _CODE_PAGE, _CLASS = 0x0037, 0x0039, 0x0E06, 0x3FFD, 0x001A
_TO, _CC, _SENDER_NAME, _SENDER_ADDRESS, _SENDER_SMTP = 0x0E04, 0x0E03, 0x0C1A, 0x0C1F, 0x5D01
_BODY, _RTF, _HTML = 0x1000, 0x1009, 0x1013
_ATTACHED, _LONG_NAME, _SHORT_NAME, _DISPLAY_NAME, _CONTENT_ID = 0x3701, 0x3707, 0x3704, 0x3001, 0x3712
_ATTACHMENT: Final = "__attach_version1.0_"
_PROPERTIES: Final = "__properties_version1.0"
_EPOCH: Final = datetime(1601, 1, 1)
_YEAR_9000: Final = 2_335_000_000_000_000_000


def extract(data: mmap | bytes, limits: Limits, report: Report, parts: PartReader) -> Extraction:
    """The message and what is attached to it."""
    try:
        with olefile.OleFileIO(bytes(data)) as container:
            return _read(_Store(container, ()), limits, parts)
    except OSError as error:
        raise ExtractionRefused("broken", DAMAGED) from error


def _read(store: "_Store", limits: Limits, parts: PartReader) -> Extraction:
    if "SMIME" in store.text(_CLASS).upper() and "MULTIPARTSIGNED" not in store.text(_CLASS).upper():
        raise ExtractionRefused("encrypted", mail.SECRET)
    builder = TextBuilder(limits)
    builder.begin_page()
    subject, sender = store.text(_SUBJECT), _sender(store)
    builder.add("heading", subject, 1)
    sent = store.moment(_SENT) or store.moment(_RECEIVED)
    head = {"From": sender, "To": store.text(_TO), "Cc": store.text(_CC), "Date": sent}
    builder.add("paragraph", "\n".join(f"{name}: {text}" for name, text in head.items() if text))
    _add_body(builder, store, limits)
    page = store.binary(_HTML)
    for inner in store.attachments():
        if not inner.is_shown_in(page):
            _add_attachment(builder, inner, limits, parts)
    return builder.finish(subject[:300] or None, mail.metadata(subject, sender), page_kind="part")


def _sender(store: "_Store") -> str:
    name, address = store.text(_SENDER_NAME), store.text(_SENDER_SMTP) or store.text(_SENDER_ADDRESS)
    return f"{name} <{address}>" if name and "@" in address and address != name else name or address


def _add_body(builder: TextBuilder, store: "_Store", limits: Limits) -> None:
    """The body in the best of its forms."""
    page = store.binary(_HTML) or store.raw_text(_HTML).encode()
    if page.strip():
        mail.add_body(builder, page, "text/html", store.encoding() if store.binary(_HTML) else "utf-8", limits)
        return
    text = store.raw_text(_BODY)
    packed = store.binary(_RTF)
    if text.strip() or not packed:
        mail.add_body(builder, text.encode("utf-8", "replace"), "text/plain", "utf-8", limits)
        return
    builder.add_extraction(rtf.extract(compressed_rtf.decompress(packed), limits, lambda *_: None))


def _add_attachment(builder: TextBuilder, store: "_Store", limits: Limits, parts: PartReader) -> None:
    name = store.text(_LONG_NAME) or store.text(_SHORT_NAME) or store.text(_DISPLAY_NAME) or "attachment"
    message = store.embedded()
    if message is not None:
        parts.add_read(builder, name, lambda: _read(message, limits, parts.deeper()))
    elif content := store.binary(_ATTACHED):
        parts.add(builder, name, content)
    else:
        parts.tell_unread(builder, name, "It is only a link to a file that is kept elsewhere, or an embedded object.")


@dataclass(frozen=True)
class _Store:
    """A message's or an attachment's folder in the container: properties by their numbers."""

    container: olefile.OleFileIO
    path: tuple[str, ...]

    def text(self, number: int) -> str:
        """A property on one line."""
        return clean(self.raw_text(number))

    def raw_text(self, number: int) -> str:
        wide = self._stream(f"{number:04X}001F")
        if wide is not None:
            return wide.decode("utf-16-le", "replace")
        return self._decoded(self._stream(f"{number:04X}001E") or b"")

    def binary(self, number: int) -> bytes:
        return self._stream(f"{number:04X}0102") or b""

    def moment(self, number: int) -> str:
        """A point in time (UTC)."""
        ticks = struct.unpack("<Q", self._fixed().get(number, bytes(8)))[0]
        if not 0 < ticks < _YEAR_9000:
            return ""
        return (_EPOCH + timedelta(microseconds=ticks // 10)).strftime("%Y-%m-%d %H:%M UTC")

    def encoding(self) -> str:
        """What 8-bit text is written in."""
        page = struct.unpack("<i", self._fixed().get(_CODE_PAGE, bytes(8))[:4])[0]
        return "utf-8" if page == 65001 else f"cp{page or 1252}"

    def attachments(self) -> list["_Store"]:
        depth = len(self.path)
        names = {
            entry[depth]
            for entry in self.container.listdir()
            if tuple(entry[:depth]) == self.path and len(entry) > depth and entry[depth].startswith(_ATTACHMENT)
        }
        return [_Store(self.container, (*self.path, name)) for name in sorted(names)]

    def embedded(self) -> "_Store | None":
        """The message that an attachment is, where it is one."""
        path = (*self.path, f"__substg1.0_{_ATTACHED:04X}000D")
        return _Store(self.container, path) if self.container.exists([*path, _PROPERTIES]) else None

    def is_shown_in(self, page: bytes) -> bool:
        """Whether this is a picture that belongs to the look of the message's text."""
        name = self.text(_CONTENT_ID).encode()
        return bool(name) and b"cid:" + name in page

    def _stream(self, name: str) -> bytes | None:
        path = [*self.path, f"__substg1.0_{name}"]
        if not self.container.exists(path) or self.container.get_type(path) != olefile.STGTY_STREAM:
            return None
        return bytes(self.container.openstream(path).read())

    def _decoded(self, content: bytes) -> str:
        try:
            return content.decode(self.encoding(), "replace")
        except LookupError:
            return content.decode("cp1252", "replace")

    def _fixed(self) -> dict[int, bytes]:
        """The properties of fixed size."""
        path = [*self.path, _PROPERTIES]
        if not self.container.exists(path):
            return {}
        content = self.container.openstream(path).read()
        content = content[len(content) % 16 or (32 if not self.path else 16) :]
        return {
            struct.unpack_from("<H", content, start + 2)[0]: content[start + 8 : start + 16]
            for start in range(0, len(content) - 15, 16)
        }
