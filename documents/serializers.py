"""Documents, collections and passages as JSON."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from rest_framework import serializers

from documents.models import Chunk, Collection, Document
from documents.places import place
from documents.queue.outlook import Forecast, forecasts
from documents.replacing import OnDuplicateName
from documents.search import Hit, highlights


class CollectionSerializer(serializers.ModelSerializer[Collection]):
    document_count = serializers.IntegerField(read_only=True)

    class Meta:
        model = Collection
        fields = ("id", "name", "instructions", "document_count", "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")


class ErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()
    retryable = serializers.BooleanField()


class DocumentListSerializer(serializers.ListSerializer[Document]):
    """Many documents, whose forecasts are made together."""

    def to_representation(self, data: Any) -> list[Any]:
        documents = list(data)
        self.child.forecasts = forecasts(documents)  # type: ignore[union-attr]
        return super().to_representation(documents)


class DocumentSerializer(serializers.ModelSerializer[Document]):
    """A document as every endpoint shows it."""

    collections = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    remaining_seconds = serializers.SerializerMethodField(help_text="Until it is processed; null: too little is known.")
    ready_at = serializers.SerializerMethodField()
    warnings = serializers.ListField(child=serializers.CharField(), read_only=True)
    searchable = serializers.SerializerMethodField()

    forecasts: Mapping[UUID, Forecast] = MappingProxyType({})

    class Meta:
        model = Document
        fields = (
            "id", "filename", "title", "content_type", "size", "language", "status", "searchable", "stage_progress",
            "stage_seconds", "remaining_seconds", "ready_at", "waiting_for", "page_count", "page_kind",
            "chunk_count", "collections", "replaces", "warnings", "error",
            "uploaded_at", "processed_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields
        list_serializer_class = DocumentListSerializer

    def get_searchable(self, document: Document) -> bool:
        return document.searchable and document.replaces_id is None

    def get_collections(self, document: Document) -> list[str]:
        return [str(membership.collection_id) for membership in document.memberships.all()]

    def get_remaining_seconds(self, document: Document) -> float | None:
        return self._forecast(document).remaining

    def get_ready_at(self, document: Document) -> datetime | None:
        if document.status == Document.Status.PROCESSED:
            return document.processed_at
        return self._forecast(document).ready_at

    def _forecast(self, document: Document) -> Forecast:
        if document.id not in self.forecasts:
            self.forecasts = forecasts([document])
        return self.forecasts[document.id]

    def get_error(self, document: Document) -> dict[str, Any] | None:
        if not document.error_code:
            return None
        error = {"code": document.error_code, "detail": document.error_detail, "retryable": document.error_retryable}
        return ErrorSerializer(error).data

    get_error.__annotations__["return"] = ErrorSerializer(allow_null=True)


class UploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(allow_empty_file=True, max_length=None)
    collection = serializers.ListField(child=serializers.UUIDField(), required=False, help_text="May be repeated.")
    replaces = serializers.UUIDField(required=False, help_text="A document whose place it takes when it is processed.")
    on_duplicate_name = serializers.ChoiceField(
        OnDuplicateName.choices,
        default=OnDuplicateName.OFFER,
        help_text="Where a document of this name is in the same place: `offer` names it in `replaces_candidate`.",
    )


class NamesakeSerializer(serializers.ModelSerializer[Document]):
    class Meta:
        model = Document
        fields = ("id", "filename", "uploaded_at")
        read_only_fields = fields


class UploadedSerializer(DocumentSerializer):
    """A document that was uploaded, and one of the same name that it may replace."""

    replaces_candidate = serializers.SerializerMethodField()

    class Meta(DocumentSerializer.Meta):
        fields = (*DocumentSerializer.Meta.fields, "replaces_candidate")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]

    def get_replaces_candidate(self, document: Document) -> dict[str, Any] | None:
        namesake = self.context["namesake"]
        return NamesakeSerializer(namesake).data if namesake else None

    get_replaces_candidate.__annotations__["return"] = NamesakeSerializer(allow_null=True)


class DocumentChangeSerializer(serializers.Serializer[Any]):
    filename = serializers.CharField(required=False, max_length=255)
    collections = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=100)


class PageSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    start = serializers.IntegerField()
    end = serializers.IntegerField()
    label = serializers.CharField(allow_null=True, default=None, help_text="As printed; a sheet's or a chapter's name.")  # type: ignore[assignment]


class TextSerializer(serializers.Serializer[Any]):
    text = serializers.CharField()
    pages = PageSerializer(many=True)


class BoxSerializer(serializers.Serializer[Any]):
    """A rectangle as fractions of the page's width and height, from the top left corner."""

    left = serializers.FloatField()
    top = serializers.FloatField()
    right = serializers.FloatField()
    bottom = serializers.FloatField()


class BoxesSerializer(serializers.Serializer[Any]):
    page = serializers.IntegerField()
    boxes = BoxSerializer(many=True)


class BoxesQuerySerializer(serializers.Serializer[Any]):
    start = serializers.IntegerField(min_value=0)
    end = serializers.IntegerField(min_value=1)


class ChunkSerializer(serializers.ModelSerializer[Chunk]):
    page_label = serializers.SerializerMethodField(help_text="As printed; a sheet's or an attachment's name.")
    place = serializers.SerializerMethodField(help_text="In words: `slide 3`, `sheet Budget`; empty without pages.")

    class Meta:
        model = Chunk
        fields = (
            "position", "kind", "start", "end", "page", "page_label", "place", "headings", "table_header", "text",
            "token_count",
        )  # fmt: skip
        read_only_fields = fields

    def get_page_label(self, chunk: Chunk) -> str | None:
        return chunk.page_label or None

    def get_place(self, chunk: Chunk) -> str:
        return place(self.context["page_kind"], chunk.page, chunk.page_label)


class SearchSerializer(serializers.Serializer[Any]):
    query = serializers.CharField(max_length=4000)
    limit = serializers.IntegerField(min_value=1, max_value=100, default=10)
    documents = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=1000)
    collections = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=100)


class SpanSerializer(serializers.Serializer[Any]):
    start = serializers.IntegerField()
    end = serializers.IntegerField()


class ScoresSerializer(serializers.Serializer[Any]):
    words = serializers.FloatField()
    meaning = serializers.FloatField()


class ResultSerializer(serializers.Serializer[Any]):
    """A passage that was found. Offsets are code points into the document's text."""

    document = serializers.UUIDField(source="document_id")
    filename = serializers.CharField()
    page = serializers.IntegerField(allow_null=True)
    page_kind = serializers.SerializerMethodField(help_text="`page`, `slide`, `sheet` or `part`; null without pages.")
    page_label = serializers.SerializerMethodField(help_text="As printed; a sheet's or an attachment's name.")
    place = serializers.CharField(help_text="In words: `slide 3`, `sheet Budget`; empty without pages.")
    position = serializers.IntegerField()
    start = serializers.IntegerField()
    end = serializers.IntegerField()
    text = serializers.CharField()
    headings = serializers.ListField(child=serializers.CharField())
    table_header = serializers.CharField(help_text="What names the columns, where the passage is of a table.")
    score = serializers.FloatField()
    scores = ScoresSerializer(source="*")
    highlights = serializers.SerializerMethodField()

    def get_page_kind(self, hit: Hit) -> str | None:
        return hit.page_kind if hit.page else None

    def get_page_label(self, hit: Hit) -> str | None:
        return hit.page_label or None

    def get_highlights(self, hit: Hit) -> list[dict[str, int]]:
        return [{"start": start, "end": end} for start, end in highlights(hit, self.context["query"])]

    get_highlights.__annotations__["return"] = SpanSerializer(many=True)


class SearchResultsSerializer(serializers.Serializer[Any]):
    results = ResultSerializer(many=True)
