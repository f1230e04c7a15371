"""The passages that an answer may rest on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from documents.search import Hit


@dataclass(frozen=True)
class Passage:
    """A found chunk with the number that the answer calls it by."""

    number: int
    hit: "Hit"

    @property
    def text(self) -> str:
        return self.hit.text

    @property
    def language(self) -> str:
        return self.hit.language

    def as_json(self) -> dict[str, Any]:
        """Where the passage stands, without any copy of what is the document's (its name too): it may outlive it."""
        hit = self.hit
        return {
            "number": self.number,
            "document": str(hit.document_id),
            "page": hit.page,
            "page_kind": hit.page_kind if hit.page else None,
            "position": hit.position,
            "start": hit.start,
            "end": hit.end,
            "score": round(hit.score, 4),
        }
