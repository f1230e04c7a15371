"""Documents in plain words."""

from django import template

from documents import labels
from documents.models import Chunk, Document
from documents.places import place

register = template.Library()
register.filter("kind", labels.kind)
register.filter("stages", labels.stages)


@register.filter
def place_in(chunk: Chunk, document: Document) -> str:
    """Where in the document the chunk stands: ``slide 3``."""
    return place(document.page_kind, chunk.page, chunk.page_label)


@register.filter
def state(status: str) -> str:
    return labels.STATES[status]
