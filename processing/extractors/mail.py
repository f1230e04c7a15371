"""E-mail messages: who wrote to whom when, the text, and each attachment as a part of its own."""

import email
import email.errors
import email.policy
from email.message import EmailMessage, Message
from mmap import mmap
from typing import Final

from processing.extractors import html, plain_text
from processing.extractors.blocks import Report, TextBuilder, clean
from processing.extractors.parts import PartReader
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_SHOWN: Final = ("From", "To", "Cc", "Date")
_ENCRYPTED: Final = (
    "multipart/encrypted",
    "application/pkcs7-mime",
    "application/x-pkcs7-mime",
    "application/pgp-encrypted",
)
_SIGNATURES: Final = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_POLICY: Final = email.policy.default.clone(max_line_length=None, refold_source="none")

SECRET: Final = "This message is encrypted. Open it in your mail program and save its text."  # noqa: S105


def extract(data: mmap | bytes, limits: Limits, report: Report, parts: PartReader) -> Extraction:
    """The message and what is attached to it."""
    return _read(email.message_from_bytes(bytes(data), policy=_POLICY), limits, parts)


def _read(message: EmailMessage, limits: Limits, parts: PartReader) -> Extraction:
    builder = TextBuilder(limits)
    builder.begin_page()
    subject = header(message, "Subject")
    builder.add("heading", subject, 1)
    builder.add("paragraph", "\n".join(f"{name}: {text}" for name in _SHOWN if (text := header(message, name))))
    _add_contents(builder, message, limits, parts)
    return builder.finish(subject[:300] or None, metadata(subject, header(message, "From")), page_kind="part")


def metadata(subject: str, author: str) -> dict[str, str]:
    return {key: text[:300] for key, text in (("title", subject), ("author", author)) if text}


def header(message: Message, name: str) -> str:
    """A header's text; one that cannot be understood is shown as it is."""
    try:
        return clean(str(message.get(name) or ""))
    except (ValueError, IndexError, AttributeError, TypeError, email.errors.MessageError):
        raw = next((str(text) for key, text in message.raw_items() if key.lower() == name.lower()), "")
        return clean(raw)


def _add_contents(builder: TextBuilder, message: EmailMessage, limits: Limits, parts: PartReader) -> None:
    if message.get_content_type() in _ENCRYPTED:
        raise ExtractionRefused("encrypted", SECRET)
    body = message.get_body(("html", "plain"))
    texts: list[Message] = [part for part in _leaves(message) if _is_shown(part, message)]
    alternatives = _alternatives(message)
    attached = [part for part in _leaves(message) if part not in texts and part not in alternatives]
    for part in texts:
        if part is body or part not in alternatives:
            add_body(builder, _payload(part), part.get_content_type(), part.get_content_charset(), limits)
    for number, part in enumerate(attached, 1):
        if part.get_content_type() not in _SIGNATURES and not _is_decoration(part):
            _add_attachment(builder, part, number, parts)


def _leaves(message: Message) -> list[Message]:
    """The parts that hold something; an attached message is one, with all that is in it."""
    if message.get_content_maintype() == "message" and message.is_multipart():
        return [message]
    if not message.is_multipart():
        return [message]
    return [leaf for part in message.get_payload() if isinstance(part, Message) for leaf in _leaves(part)]


def _is_shown(part: Message, message: Message) -> bool:
    """Whether a mail program shows the part as text of the message itself."""
    if part.get_content_type() not in ("text/plain", "text/html") or part.get_content_disposition() == "attachment":
        return False
    return part is message or part.get_filename() is None


def _alternatives(message: Message) -> list[Message]:
    """The parts that say the same in several forms."""
    return [
        leaf
        for part in message.walk()
        if part.get_content_type() == "multipart/alternative"
        for leaf in _leaves(part)
        if leaf.get_content_type() in ("text/plain", "text/html", "text/rtf", "text/enriched", "text/watch-html")
    ]


def _is_decoration(part: Message) -> bool:
    """Whether a picture belongs to the look of the text (a logo), as its id says by which the text refers to it."""
    return (
        part.get_content_maintype() == "image"
        and "Content-ID" in part
        and part.get_content_disposition() != "attachment"
    )


def _payload(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def add_body(builder: TextBuilder, data: bytes, kind: str, charset: str | None, limits: Limits) -> None:
    """A message's text, which may be a web page."""
    if not data.strip():
        return
    if kind == "text/html":
        html.add_page(builder, html.parse(data, limits, charset))
        return
    text = plain_text.decode(data, limits, charset)
    for start, end in plain_text.paragraphs(text):
        lines = (clean(line) for line in text[start:end].splitlines())
        builder.add("paragraph", "\n".join(filter(None, lines)))


def _add_attachment(builder: TextBuilder, part: Message, number: int, parts: PartReader) -> None:
    if part.get_content_maintype() == "message" and part.is_multipart():
        inner = part.get_payload(0)
        if isinstance(inner, EmailMessage):
            name = header(inner, "Subject") or f"message {number}"
            parts.add_read(builder, name, lambda: _read(inner, parts.limits, parts.deeper()))
        return
    data = _payload(part)
    if data:
        parts.add(builder, _filename(part) or f"attachment {number} ({part.get_content_type()})", data)


def _filename(part: Message) -> str:
    try:
        return part.get_filename() or ""
    except (ValueError, IndexError, AttributeError, TypeError):
        return ""
