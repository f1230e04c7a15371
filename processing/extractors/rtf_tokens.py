"""RTF cut into what it is made of, and its characters in the many ways it may write them."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.S
)
_CHARSETS: Final = {
    0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "big5", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250", 255: "cp437",
}  # fmt: skip
_CODE_PAGES: Final = {10000: "mac_roman", 65001: "utf-8", 936: "gbk", 950: "big5", 708: "iso8859_6"}
SPECIAL: Final = {
    "tab": " ", "emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
    "bullet": "•", "emspace": " ", "enspace": " ", "qmspace": " ", "line": "\n", "lbr": "\n", "softline": "\n",
    "zwj": "\u200d", "zwnj": "\u200c",
}  # fmt: skip
SYMBOLS: Final = {b"~": " ", b"_": "-"}
ESCAPED: Final = (b"\\", b"{", b"}")
"""They stand for themselves, and may be the second byte of a Chinese or Japanese character."""


class Token(NamedTuple):
    """One of: a word with its number, a byte, a symbol, a brace, plain letters."""

    word: str
    number: int | None
    byte: bytes
    symbol: bytes
    brace: bytes
    letters: bytes


def tokens(data: bytes) -> Iterator[Token]:
    """Control words, braces and letters in order; pictures and other ``\\bin`` data are jumped over."""
    position = 0
    while match := _TOKEN.search(data, position):
        word, number, byte, symbol, brace, letters = match.groups(b"")
        position = match.end()
        if word == b"bin":
            position += max(int(number or 0), 0)
            continue
        value = int(number) if number else None
        yield Token(word.decode("ascii"), value, bytes.fromhex(byte.decode()), symbol, brace, letters)


def encoding_of_charset(charset: int) -> str | None:
    """The encoding of a font's bytes; None for one that leaves it to the document."""
    return _CHARSETS.get(charset) if charset != 1 else None


def encoding_of_code_page(number: int) -> str:
    return _CODE_PAGES.get(number, f"cp{number}")


def decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding, "replace")
    except LookupError:
        return data.decode("cp1252", "replace")
