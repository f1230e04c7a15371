"""What lists of documents can be narrowed to."""

import django_filters

from documents.models import Document
from documents.querysets import DocumentQuerySet


class DocumentFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=Document.Status.choices)
    content_type = django_filters.CharFilter()
    collection = django_filters.UUIDFilter(method="in_collection")
    search = django_filters.CharFilter(method="named_like", help_text="The name's beginning, or words of it.")

    class Meta:
        model = Document
        fields = ("status", "content_type", "collection", "search")

    def in_collection(self, queryset: DocumentQuerySet, _name: str, value: object) -> DocumentQuerySet:
        return queryset.in_collection(value)  # type: ignore[arg-type]

    def named_like(self, queryset: DocumentQuerySet, _name: str, value: str) -> DocumentQuerySet:
        return queryset.named_like(value)
