"""What lists of documents can be narrowed to."""

from collections.abc import Sequence
from typing import Any

import django_filters
from django.db.models.functions import Lower

from documents.models import Document
from documents.naming import named_like
from documents.querysets import DocumentQuerySet

ORDERINGS: dict[str, Sequence[Any]] = {
    "-uploaded_at": ("-uploaded_at", "-id"),
    "uploaded_at": ("uploaded_at", "id"),
    "filename": (Lower("filename"), "id"),
    "-filename": (Lower("filename").desc(), "-id"),
    "size": ("size", "id"),
    "-size": ("-size", "-id"),
}
"""What lists of documents can be sorted by; each is served by an index."""


NAMED = "The name's beginning, or words of it. A page may hold fewer than asked for, even none, while `next` leads on."


class DocumentFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=Document.Status.choices)
    content_type = django_filters.CharFilter()
    collection = django_filters.UUIDFilter(method="in_collection")
    search = django_filters.CharFilter(method="by_name", help_text=NAMED)

    class Meta:
        model = Document
        fields = ("status", "content_type", "collection", "search")

    def in_collection(self, queryset: DocumentQuerySet, _name: str, value: object) -> DocumentQuerySet:
        return queryset.in_collection(value)  # type: ignore[arg-type]

    def by_name(self, queryset: DocumentQuerySet, _name: str, value: str) -> DocumentQuerySet:
        return named_like(queryset, self.request.user, value)
