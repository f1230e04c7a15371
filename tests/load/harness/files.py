"""The files that visitors upload, made before the load so that making them costs it nothing."""

import io
import json
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from fpdf import FPDF
from PIL import Image

from ragsite.layout import PROJECT_DIR
from tests.load.corpus import REPORTS, sentences, text_of
from tests.load.harness.profiles import Files

FORMATS = PROJECT_DIR.parent / "shared" / "data" / "formats"
PAGES_WITH_PICTURES = 10


def make_files(folder: Path, kinds: Files, count: int, seed: int = 1) -> list[str]:
    """Paths of about so many files, shuffled, with the shares of ``kinds``: among few there are no rare ones."""
    folder.mkdir(parents=True, exist_ok=True)
    chooser, source = random.Random(seed), sentences()
    found: list[Path] = []
    for kind, size, share in kinds:
        wanted = round(count * share)
        if kind == "text":
            found += _texts(folder, size, wanted, source)
        elif kind == "pictures":
            found += [_with_pictures(folder, size, number) for number in range(min(wanted, 2))]
        else:
            found += islice(_repeated(_ready(kind), chooser), wanted)
    chooser.shuffle(found)
    return [str(path) for path in found]


def _texts(folder: Path, size: int, count: int, source: Iterator[str]) -> list[Path]:
    paths = []
    for number in range(count):
        path = folder / f"notes {size // 1000} KB {number:04}.txt"
        path.write_text(text_of(source, size))
        paths.append(path)
    return paths


def _ready(kind: str) -> Sequence[Path]:
    """Files that are there: of all formats that can be read, or reports as PDF; nothing without ../shared/data."""
    if kind == "report":
        return sorted(REPORTS.glob("*.pdf"))
    if not FORMATS.is_dir():
        return []
    manifest = json.loads((FORMATS / "manifest.json").read_text(encoding="utf-8"))
    return [FORMATS / entry["file"] for entry in manifest["files"] if _is_readable(entry)]


def _is_readable(entry: dict[str, str]) -> bool:
    return entry["expected"] == "text_contains" and entry.get("also_ok") != "refuse"


def _repeated(paths: Sequence[Path], chooser: random.Random) -> Iterator[Path]:
    while paths:
        yield from chooser.sample(paths, len(paths))


def _with_pictures(folder: Path, size: int, seed: int) -> Path:
    """A PDF of ten pages, nearly all of it pictures: what people mean by a file of 50 MB."""
    path = folder / f"pictures {size // 1_000_000} MB {seed}.pdf"
    pdf, chooser = FPDF(), random.Random(seed)
    side = int((size / PAGES_WITH_PICTURES / 3) ** 0.5)
    for page in range(PAGES_WITH_PICTURES):
        pdf.add_page()
        pdf.set_font("helvetica", size=11)
        pdf.multi_cell(0, text=f"Page {page + 1} of file {seed} shows a picture that was taken in the field.")
        noise = Image.frombytes("RGB", (side, side), chooser.randbytes(3 * side * side))
        picture = io.BytesIO()
        noise.save(picture, "PNG", compress_level=0)
        pdf.image(picture, w=150)
    pdf.output(str(path))
    return path
