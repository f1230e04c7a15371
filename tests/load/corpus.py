"""What the benchmarks of ingest put in: English texts of 10 KB, PDFs of 20 pages and one of 300.

From the articles and reports of ../shared/data where that is present, else made of random words.
"""

import random
from collections.abc import Iterator
from itertools import cycle, groupby, islice
from pathlib import Path

import pypdfium2
from fpdf import FPDF

from ragsite.layout import PROJECT_DIR

ARTICLES = PROJECT_DIR.parent / "shared" / "data" / "squad" / "docs"
REPORTS = PROJECT_DIR.parent / "shared" / "data" / "sec10q" / "docs"
WORDS = (
    *("river", "city", "treaty", "council", "music", "engine", "theory", "harvest", "museum", "bridge", "the", "of"),
    *("and", "in", "to", "was", "with", "from", "which", "between", "large", "small", "region", "2014", "1,250"),
)
LINES_A_PAGE = 40


def texts(folder: Path, count: int, size: int = 10_000) -> list[Path]:
    """So many files of so many characters. No sentence comes twice: the site would compute it once."""
    source = sentences()
    return [_written(folder / f"text {number:03}.txt", text_of(source, size)) for number in range(count)]


def text_of(source: Iterator[str], size: int) -> str:
    """So many characters of paragraphs."""
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(next(source))
        length += len(parts[-1]) + 1
    paragraphs = (" ".join(parts[start : start + 5]) for start in range(0, len(parts), 5))
    return "\n\n".join(paragraphs)


def sentences() -> Iterator[str]:
    """Those of the articles, and again with their words in another order, without end."""
    choose = random.Random(1)
    known = _article_sentences() or [" ".join(choose.choices(WORDS, k=20)) + "." for _ in range(5000)]
    yield from known
    for sentence in cycle(known):
        words = sentence.rstrip(".").split()
        choose.shuffle(words)
        yield " ".join(words) + "."


def _article_sentences() -> list[str]:
    lines = [line for path in sorted(ARTICLES.glob("*.md")) for line in path.read_text().splitlines()]
    return [f"{part}." for line in lines if not line.startswith("#") for part in line.split(". ") if len(part) > 20]


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def pdfs(folder: Path, count: int, pages: int) -> list[Path]:
    """So many PDFs of so many pages each."""
    found = []
    for number in range(count):
        path = folder / f"report {number:02} of {pages} pages.pdf"
        _save_reports(path, number * pages, pages) if REPORTS.is_dir() else _save_made(path, number, pages)
        found.append(path)
    return found


def _save_reports(path: Path, first: int, pages: int) -> None:
    """Pages of the reports, one behind the other and round again."""
    sources = [pypdfium2.PdfDocument(source) for source in sorted(REPORTS.glob("*.pdf"))]
    every = [(source, page) for source in sources for page in range(len(source))]
    target = pypdfium2.PdfDocument.new()
    chosen = islice(cycle(every), first, first + pages)
    for source, run in groupby(chosen, key=lambda entry: entry[0]):  # page by page each would bring its fonts
        target.import_pages(source, [page for _, page in run])
    target.save(path)


def _save_made(path: Path, seed: int, pages: int) -> None:
    choose = random.Random(seed)
    pdf = FPDF()
    pdf.set_font("helvetica", size=10)
    for _ in range(pages):
        pdf.add_page()
        for _ in range(LINES_A_PAGE):
            pdf.cell(text=" ".join(choose.choices(WORDS, k=12)) + ".", new_x="LMARGIN", new_y="NEXT")
    pdf.output(str(path))
