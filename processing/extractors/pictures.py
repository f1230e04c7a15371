"""Pictures: their text where text recognition is installed. A TIFF may have several pages."""

import io
from collections.abc import Iterator
from mmap import mmap
from typing import Final

from PIL import Image, ImageOps, ImageSequence, TiffImagePlugin, UnidentifiedImageError  # noqa: F401

from processing.extractors import recognition
from processing.extractors.archive import DAMAGED
from processing.extractors.blocks import Report, TextBuilder
from ragsite.extraction import Extraction, ExtractionRefused, Limits

_MOST_PIXELS: Final = 200_000_000

NO_RECOGNITION: Final = "No text was found in this picture: text recognition (OCR) is not installed on this site."
NO_TEXT: Final = "No text was found in this picture."
TOO_LARGE: Final = f"The picture has more than {_MOST_PIXELS // 1_000_000} million pixels. Make it smaller."


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """The text that is recognised. Raises `no_text` where there is none or nothing to recognise it with."""
    if not recognition.is_loaded():
        raise ExtractionRefused("no_text", NO_RECOGNITION)
    builder, budget = TextBuilder(limits), recognition.Budget(limits)
    for number, picture in enumerate(_pictures(bytes(data), limits), 1):
        if budget.is_spent():
            builder.warn(f"From page {number} on it was not read: recognising the text took longer than is allowed.")
            break
        builder.begin_page()
        recognition.add_lines(builder, recognition.lines_of(picture))
        report(0.0, number)
    if not builder.holds_text:
        raise ExtractionRefused("no_text", NO_TEXT)
    return builder.finish()


def _pictures(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """The pictures in a file, turned as its camera held it. Raises `broken`, `too_large`."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            frames = ImageSequence.Iterator(opened) if opened.format == "TIFF" else [opened]
            for number, frame in enumerate(frames, 1):
                if frame.width * frame.height > _MOST_PIXELS:
                    raise ExtractionRefused("too_large", TOO_LARGE)
                if number > limits.max_pages:
                    raise ExtractionRefused("too_many_pages", f"The picture has more than {limits.max_pages} pages.")
                yield ImageOps.exif_transpose(frame)
    except Image.DecompressionBombError as error:
        raise ExtractionRefused("too_large", TOO_LARGE) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ExtractionRefused("broken", DAMAGED) from error
