"""What a search answers over HTTP, made without a serializer: of ten passages that took longer than ranking them.

ResultSerializer describes it; a test holds the two together.
"""

from typing import Any

from documents.search import Hit, highlights


def result(hit: Hit, query: str) -> dict[str, Any]:
    """A passage as ResultSerializer gives it."""
    return {
        "document": str(hit.document_id),
        "filename": hit.filename,
        "page": hit.page,
        "page_kind": hit.page_kind if hit.page else None,
        "page_label": hit.page_label or None,
        "place": hit.place,
        "position": hit.position,
        "start": hit.start,
        "end": hit.end,
        "text": hit.text,
        "headings": list(hit.headings),
        "table_header": hit.table_header,
        "score": hit.score,
        "scores": {"words": hit.words, "meaning": hit.meaning},
        "highlights": [{"start": start, "end": end} for start, end in highlights(hit, query)],
    }
