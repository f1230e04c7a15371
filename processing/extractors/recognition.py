"""Text recognition (OCR) with RapidOCR, where it is installed (requirements-ocr.txt)."""

import importlib.util
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, ImageDraw

from processing.extractors.blocks import TextBuilder, clean
from ragsite.extraction import Extraction, Limits

_MOST_PIXELS: Final = 12_000_000
_SHARE: Final = 0.7
_LEAST_SCORE: Final = 0.6
_MOST_CROSSING: Final = 0.2
_COLUMN_LINES: Final = 3
_COLUMN_CHARACTERS: Final = 15
_FULL: Final = 0.6
"""Most lines of a column of text fill this share of it; those of a table's column do not."""

_engine: list[Any] = []


@dataclass(frozen=True)
class Line:
    """A line of text and where it stands, in pixels from the top left."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top


def load() -> bool:
    """Load the models while files can still be opened; False where the part is not installed.

    One thread in all: the service forks, and its children may start none.
    """
    if importlib.util.find_spec("rapidocr") is None:
        return False
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    import cv2
    from rapidocr import RapidOCR

    cv2.setNumThreads(1)
    runtime = "EngineConfig.onnxruntime"
    quiet = {"Global.log_level": "error"}
    threads = {f"{runtime}.intra_op_num_threads": 1, f"{runtime}.inter_op_num_threads": 1}
    _engine.append(RapidOCR(params={**quiet, **threads, f"{runtime}.enable_cpu_mem_arena": False}))
    sample = Image.new("RGB", (400, 100), "white")
    ImageDraw.Draw(sample).text((20, 20), "warm up", fill="black", font_size=48)
    return bool(lines_of(sample))  # each model is loaded when it is used first


def is_loaded() -> bool:
    return bool(_engine)


def lines_of(picture: Image.Image) -> list[Line]:
    """The lines on a picture, in no particular order."""
    import numpy as np

    plain = picture.convert("RGB")
    plain.thumbnail((_MOST_PIXELS**0.5, _MOST_PIXELS**0.5))
    found = _engine[0](np.asarray(plain)[:, :, ::-1])
    if found.boxes is None:
        return []
    return [
        Line(
            clean(text), float(box[:, 0].min()), float(box[:, 1].min()), float(box[:, 0].max()), float(box[:, 1].max())
        )
        for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        if score >= _LEAST_SCORE and clean(text)
    ]


class Budget:
    """How long recognition may go on: most of what the whole job may take, so that what is done is not lost."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started = time.monotonic()

    def is_spent(self) -> bool:
        spent = time.process_time(), time.monotonic() - self._started
        return spent[0] > _SHARE * self._limits.cpu_seconds or spent[1] > _SHARE * self._limits.wall_seconds


def read(picture: Image.Image, limits: Limits) -> Extraction:
    """The text on a picture; empty where there is none."""
    builder = TextBuilder(limits)
    add_lines(builder, lines_of(picture))
    return builder.finish() if builder.holds_text else Extraction("")


def add_lines(builder: TextBuilder, lines: list[Line]) -> None:
    """Lines into the text: columns one after the other, lines that follow closely as a paragraph, rows as a table."""
    for region in _regions(lines):
        rows = _rows(region)
        for paragraph in _paragraphs(rows):
            if len(paragraph) > 1 and all(len(row) > 1 for row in paragraph):
                builder.add_table([[line.text for line in row] for row in paragraph])
            else:
                builder.add("paragraph", _joined([" ".join(line.text for line in row) for row in paragraph]))


def _regions(lines: list[Line]) -> Iterator[list[Line]]:
    """Parts of the page in reading order: between lines over the whole width, one column after the other."""
    gutter = _gutter(lines)
    if gutter is None:
        yield lines
        return
    wide = sorted((line for line in lines if line.left < gutter < line.right), key=lambda line: line.top)
    start = float("-inf")
    for line in [*wide, None]:
        end = line.top if line else float("inf")
        band = [other for other in lines if other not in wide and start <= (other.top + other.bottom) / 2 < end]
        for side in ([x for x in band if x.right <= gutter], [x for x in band if x.left >= gutter]):
            if side:
                yield from _regions(side)
        if line:
            yield [line]
            start = line.top


def _gutter(lines: list[Line]) -> float | None:
    """Where two columns of running text part, if they do: the place that fewest lines cross."""
    best: tuple[int, float] | None = None
    for place in sorted({line.left for line in lines}):
        left = [line for line in lines if line.right <= place]
        right = [line for line in lines if line.left >= place]
        crossing = len(lines) - len(left) - len(right)
        if crossing > _MOST_CROSSING * len(lines) or not (_is_column(left) and _is_column(right)):
            continue
        if best is None or crossing < best[0]:
            best = (crossing, place - 0.5)
    return best[1] if best else None


def _is_column(lines: list[Line]) -> bool:
    """Whether these are lines of running text rather than the cells of a table's column."""
    if len(lines) < _COLUMN_LINES or statistics.median(len(line.text) for line in lines) < _COLUMN_CHARACTERS:
        return False
    width = max(line.right for line in lines) - min(line.left for line in lines)
    return statistics.median(line.right - line.left for line in lines) >= _FULL * width


def _rows(lines: list[Line]) -> list[list[Line]]:
    """Lines side by side belong to one row."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.top + line.bottom):
        above = rows[-1][0] if rows else None
        if above and (line.top + line.bottom) / 2 < above.bottom - 0.2 * above.height:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: line.left) for row in rows]


def _paragraphs(rows: list[list[Line]]) -> Iterator[list[list[Line]]]:
    """Rows that follow each other closely, with as many cells, in letters of about one size."""
    paragraph: list[list[Line]] = []
    for row in rows:
        if paragraph and not _follows(paragraph[-1], row):
            yield paragraph
            paragraph = []
        paragraph.append(row)
    if paragraph:
        yield paragraph


def _follows(above: list[Line], row: list[Line]) -> bool:
    height = above[0].height
    near = row[0].top - above[0].bottom < 0.8 * height
    alike = 0.7 < row[0].height / max(height, 1.0) < 1.4
    return near and alike and (len(above) > 1) == (len(row) > 1)


def _joined(texts: list[str]) -> str:
    """Lines as running text; a hyphen at a line's end goes where a small letter follows."""
    text = texts[0]
    for following in texts[1:]:
        if text.endswith("-") and len(text) > 1 and text[-2].isalpha() and following[:1].islower():
            text = text[:-1] + following
        else:
            text = f"{text} {following}"
    return text
