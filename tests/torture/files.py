"""What people put in: files of many kinds and sizes, each with a word that stands in no other file."""

import io
import random
import zipfile
from dataclasses import dataclass

from fpdf import FPDF

from ragsite.extraction import DOCX
from ragsite.layout import PROJECT_DIR

FORMATS = PROJECT_DIR.parent / "shared" / "data" / "formats"
TOPICS = ("river", "harbour", "engine", "ledger", "orchard", "signal", "glacier", "theatre", "bridge", "market")
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
HOSTILE = (b"%PDF-1.4\nno page, no end", b"PK\x03\x04 and nothing more", b"\x00" * 2000, b"{\\rtf1 broken")


@dataclass(frozen=True)
class File:
    """``word`` is what finds it; without one it may be refused or fail, with a reason."""

    name: str
    content: bytes
    word: str = ""


def make_file(chance: random.Random) -> File:
    """Mostly small ones, now and then a long one, a hostile one, or one that others have stumbled over."""
    make = chance.choices((_note, _report, _table, _page, _paper, _letter, _hostile, _known), (5, 4, 2, 2, 3, 2, 1, 3))[
        0
    ]
    return make(chance)


def unique_word(chance: random.Random) -> str:
    """Letters alone, and none that a stemmer takes off."""
    return "zq" + "".join(chance.choices("bcdfghjkmpqvwxz", k=10)) + "k"


def sentences(chance: random.Random, count: int) -> str:
    return " ".join(
        f"The {chance.choice(TOPICS)} of {chance.choice(TOPICS)} number {chance.randrange(10_000)} was measured in the "
        f"year {chance.randrange(1700, 2030)} by the keeper of the {chance.choice(TOPICS)}."
        for _ in range(count)
    )


def _note(chance: random.Random) -> File:
    word = unique_word(chance)
    return File(f"note-{word}.txt", f"{sentences(chance, 4)} Remember {word}.".encode(), word)


def _report(chance: random.Random) -> File:
    """10 to 80 KB: seconds of embedding, so that much happens while it is in work."""
    word = unique_word(chance)
    parts = [f"## Part {n}\n\n{sentences(chance, 12)}" for n in range(chance.choice((8, 20, 60)))]
    parts.insert(chance.randrange(len(parts)), f"The secret is {word}.")
    return File(f"report-{word}.md", "\n\n".join(["# Report", *parts]).encode(), word)


def _table(chance: random.Random) -> File:
    word = unique_word(chance)
    rows = [f"{n},{chance.choice(TOPICS)},{chance.randrange(10**6)}" for n in range(chance.choice((5, 200)))]
    return File(f"table-{word}.csv", "\n".join(["number,name,amount", *rows, f"0,{word},1"]).encode(), word)


def _page(chance: random.Random) -> File:
    word = unique_word(chance)
    body = f"<h1>{chance.choice(TOPICS)}</h1><p>{sentences(chance, 20)}</p><p>And {word}.</p>"
    return File(f"page-{word}.html", f"<!doctype html><html><body>{body}</body></html>".encode(), word)


def _paper(chance: random.Random) -> File:
    word = unique_word(chance)
    document = FPDF()
    for number in range(chance.choice((1, 3, 12))):
        document.add_page()
        document.set_font("Helvetica", "", 11)
        document.multi_cell(0, 6, f"{sentences(chance, 15)} Page {number} of {word}.")
    return File(f"paper-{word}.pdf", bytes(document.output()), word)


def _letter(chance: random.Random) -> File:
    word = unique_word(chance)
    text = f"<w:p><w:r><w:t>{sentences(chance, 10)} Yours, {word}.</w:t></w:r></w:p>"
    types = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{DOCX}.main+xml"/></Types>'
    )
    relation = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/></Relationships>'
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr("_rels/.rels", relation)
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{WORD}"><w:body>{text}</w:body></w:document>')
    return File(f"letter-{word}.docx", buffer.getvalue(), word)


def _hostile(chance: random.Random) -> File:
    content = chance.choice(HOSTILE) + b" %d" % chance.randrange(10**9)
    return File(f"hostile-{chance.randrange(10**6)}.pdf", content)


def _known(chance: random.Random) -> File:
    """One of the collected files, bombs among them."""
    paths = sorted(path for path in FORMATS.glob("*.*") if path.suffix != ".json")
    return File((path := chance.choice(paths)).name, path.read_bytes()) if paths else _note(chance)
