"""Pictures: their text where text recognition is installed."""

from mmap import mmap
from typing import Final

from processing.extractors.blocks import Report
from ragsite.extraction import Extraction, ExtractionRefused, Limits

NO_RECOGNITION: Final = "No text was found in this picture: text recognition (OCR) is not installed on this site."


def extract(data: mmap | bytes, limits: Limits, report: Report) -> Extraction:
    """Raises `no_text`."""
    raise ExtractionRefused("no_text", NO_RECOGNITION)
