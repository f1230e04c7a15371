"""States and formats in plain words."""

from ragsite import extraction as kinds

KINDS = {
    kinds.PDF: "PDF",
    kinds.DOCX: "Word",
    kinds.PPTX: "PowerPoint",
    kinds.XLSX: "Excel",
    kinds.XLS: "Excel",
    kinds.ODT: "OpenDocument text",
    kinds.ODS: "OpenDocument sheet",
    kinds.ODP: "OpenDocument slides",
    kinds.RTF: "RTF",
    kinds.EPUB: "Book",
    kinds.EML: "E-mail",
    kinds.MSG: "E-mail",
    kinds.JSON: "JSON",
    kinds.JSON_LINES: "JSON",
    kinds.HTML: "Web page",
    kinds.MARKDOWN: "Markdown",
    kinds.PLAIN_TEXT: "Text",
    kinds.CSV: "CSV",
    **dict.fromkeys(kinds.PICTURES, "Picture"),
}

STATES = {
    "uploaded": "Waiting",
    "extracting": "Reading",
    "chunking": "Splitting into passages",
    "embedding": "Learning its meaning",
    "processed": "Ready",
    "failed": "Failed",
}

STAGES = {"extracting": "Reading", "chunking": "Splitting", "embedding": "Meaning"}


def kind(content_type: str) -> str:
    """The format's name for people."""
    return KINDS.get(content_type) or content_type.rpartition("/")[2].upper()


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3 min``, ``2.5 h``; empty when it is not known."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def stages(seconds: dict[str, float]) -> list[tuple[str, str]]:
    """What each stage that is done took, in the order of the stages."""
    return [(label, duration(seconds[name])) for name, label in STAGES.items() if name in seconds]
