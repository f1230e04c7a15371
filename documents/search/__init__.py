"""Search over the chunks of an owner: by words and by meaning, fused."""

from documents.search.fusion import Mode
from documents.search.highlights import highlights
from documents.search.ranking import Hit, Scope, search

__all__ = ["Hit", "Mode", "Scope", "highlights", "search"]
