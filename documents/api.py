"""Endpoints of documents, collections and search."""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Lower
from django.http import FileResponse, Http404, HttpResponse
from django.utils.functional import cached_property
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from documents import services
from documents.caching import COLLECTIONS, DOCUMENT_DETAIL, DOCUMENT_LIST, DOCUMENT_TEXT, names_changed
from documents.downloads import download
from documents.filters import ORDERINGS, DocumentFilter
from documents.models import Chunk, Collection, Document, DocumentText
from documents.pages import NoSuchPage, page_picture, passage_boxes
from documents.replacing import CannotReplace, OnDuplicateName, settle_upload
from documents.scopes import NotInLibrary, owned_scope
from documents.search.kept import search
from documents.search_results import result
from documents.serializers import (
    BoxesQuerySerializer,
    BoxesSerializer,
    ChunkSerializer,
    CollectionSerializer,
    DocumentChangeSerializer,
    DocumentSerializer,
    SearchResultsSerializer,
    SearchSerializer,
    TextSerializer,
    UploadedSerializer,
    UploadSerializer,
)
from documents.versions import current_version
from ragsite.accounts.callers import caller
from ragsite.accounts.models import IdempotencyKey
from ragsite.api.idempotency import idempotent
from ragsite.api.problems import Problem
from ragsite.api.throttling import UploadThrottle
from ragsite.caching.views import at_rest, cached_read
from ragsite.encoder.client import EncoderRejected, EncoderUnavailable
from ragsite.extraction import ExtractionRefused
from ragsite.sandbox import SandboxUnavailable

UPLOAD_STATUS = {"too_large": 413, "unsupported": 415, "conflict": 409}
PICTURE_CACHE = "private, max-age=31536000, immutable"


class CollectionListView(generics.ListCreateAPIView[Collection]):
    """One's collections."""

    serializer_class = CollectionSerializer
    queryset = Collection.objects.none()
    keyset_orderings: ClassVar[dict[str, Any]] = {"name": (Lower("name"), "id"), "-created_at": ("-created_at", "-id")}

    def get_queryset(self) -> QuerySet[Collection]:
        return Collection.objects.counted(caller(self.request))

    @cached_read(COLLECTIONS)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def perform_create(self, serializer: Any) -> None:
        _save_collection(serializer, owner=caller(self.request))


class CollectionView(generics.RetrieveUpdateDestroyAPIView[Collection]):
    """One collection. Deleting it leaves its documents."""

    serializer_class = CollectionSerializer
    queryset = Collection.objects.none()
    http_method_names = ("get", "patch", "delete", "head", "options")

    def get_queryset(self) -> QuerySet[Collection]:
        return Collection.objects.counted(caller(self.request))

    def perform_update(self, serializer: Any) -> None:
        _save_collection(serializer)

    def perform_destroy(self, instance: Collection) -> None:
        services.delete_collection(collection=instance)


def _save_collection(serializer: Any, **values: Any) -> None:
    try:
        with transaction.atomic():
            names_changed(serializer.save(**values).owner_id)
    except IntegrityError as error:
        message = "You have a collection of this name already."
        raise Problem(409, "name_taken", message, {"name": [message]}) from error


class DocumentListView(generics.ListAPIView[Document]):
    """One's documents, and the way in for new ones."""

    serializer_class = DocumentSerializer
    queryset = Document.objects.none()
    filterset_class = DocumentFilter
    parser_classes = (MultiPartParser,)
    throttle_classes = (*APIView.throttle_classes, UploadThrottle)
    keyset_orderings: ClassVar[dict[str, Any]] = ORDERINGS

    def get_queryset(self) -> QuerySet[Document]:
        return Document.objects.with_collections(caller(self.request))

    @cached_read(DOCUMENT_LIST, keep=at_rest)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="documents_upload",
        request={"multipart/form-data": UploadSerializer},
        responses={201: UploadedSerializer, 200: OpenApiResponse(UploadedSerializer, "The same content was there.")},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Upload a file. The same content again gives the document that is there, added to the collections named."""
        form = UploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        file = form.validated_data["file"]
        check_replaced(request, form.validated_data.get("replaces"))
        collections = owned_collections(request, form.validated_data.get("collection", []))
        try:
            upload = services.upload_document(
                owner=caller(request), file=file, filename=file.name, collections=collections
            )
        except services.UploadRefused as error:
            raise Problem(
                UPLOAD_STATUS.get(error.code, 422), error.code, error.detail, {"file": [error.detail]}
            ) from error
        except services.Gone as error:
            raise Http404 from error
        code = status.HTTP_201_CREATED if upload.created else status.HTTP_200_OK
        shown = _settled(upload, form.validated_data)
        claim = request.idempotency  # type: ignore[attr-defined]
        if claim:  # last: a repetition settles nothing. The id alone: what a document was called must not outlive it
            claim.finish(code, {"id": upload.document.id})
        return Response(shown, status=code)

    def replay(self, request: Request, row: IdempotencyKey) -> Response | None:
        """The document that a request has made, as it is now; None when it was deleted since."""
        kept: dict[str, str] = row.body or {}
        current = current_version(caller(request).pk, UUID(kept["id"])) or kept["id"]
        document = Document.objects.for_user(caller(request)).filter(id=current).first()
        if document is None:
            return None
        created = row.status == status.HTTP_201_CREATED
        return Response(_settled(services.Upload(document, created), {}), status=row.status)


def check_replaced(request: Request, replaced: UUID | None) -> None:
    """Raises Problem 404 where what an upload shall replace is not the caller's."""
    if replaced is not None and current_version(caller(request).pk, replaced) is None:
        message = "The document to replace is not yours or does not exist."
        raise Problem(404, "not_found", message, {"replaces": [message]})


def _settled(upload: services.Upload, wanted: dict[str, Any]) -> dict[str, Any]:
    """The document that was uploaded, put in the place of another one if that is wanted."""
    choice = wanted.get("on_duplicate_name", OnDuplicateName.OFFER)
    try:
        namesake = settle_upload(upload, replaces=wanted.get("replaces"), on_duplicate_name=choice)
    except CannotReplace as error:
        raise Problem(409, "cannot_replace", str(error)) from error
    fresh = Document.objects.with_collections(upload.document.owner_id).filter(id=upload.document.id).first()
    if fresh is None:
        raise Http404
    return UploadedSerializer(fresh, context={"namesake": namesake}).data


def owned_collections(request: Request, ids: Sequence[UUID]) -> list[Collection]:
    """The caller's collections of these ids. Raises Problem 404."""
    if not ids:
        return []
    found = list(Collection.objects.for_user(caller(request)).filter(id__in=ids))
    if len(found) != len(set(ids)):
        message = "One of the collections is not yours or does not exist."
        raise Problem(404, "not_found", message, {"collection": [message]})
    return found


def _shown(document: Document) -> dict[str, Any]:
    fresh = Document.objects.with_collections(document.owner_id).filter(id=document.id).first()
    if fresh is None:
        raise Http404
    return DocumentSerializer(fresh).data


class OwnDocumentMixin:
    """For views below /documents/{id}: the document if it is the caller's, else 404."""

    def own_document(self, request: Request, pk: UUID) -> Document:
        document = Document.objects.for_user(caller(request)).filter(id=pk).first()
        if document is None:
            raise Http404
        return document


class DocumentView(OwnDocumentMixin, APIView):
    """One document."""

    @extend_schema(operation_id="documents_retrieve", responses=DocumentSerializer)
    @cached_read(DOCUMENT_DETAIL, keep=at_rest, document="pk")
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(_shown(self.own_document(request, pk)))

    @extend_schema(operation_id="documents_change", request=DocumentChangeSerializer, responses=DocumentSerializer)
    def patch(self, request: Request, pk: UUID) -> Response:
        """Rename it, or say which collections it is in."""
        document = self.own_document(request, pk)
        form = DocumentChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        collections = owned_collections(request, form.validated_data.get("collections", []))
        try:
            if "filename" in form.validated_data:
                services.rename_document(document=document, filename=form.validated_data["filename"])
            if "collections" in form.validated_data:
                services.set_collections(document=document, collections=collections)
        except services.Gone as error:
            raise Http404 from error
        return Response(_shown(document))

    @extend_schema(operation_id="documents_delete", responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Delete it with its file, chunks, embeddings and all that was derived from them."""
        document = self.own_document(request, pk)
        services.delete_documents(owner_id=document.owner_id, documents=[document.id])
        return Response(status=status.HTTP_204_NO_CONTENT)


class RetryView(OwnDocumentMixin, APIView):
    @extend_schema(operation_id="documents_retry", request=None, responses={202: DocumentSerializer})
    def post(self, request: Request, pk: UUID) -> Response:
        """Try a failed document again."""
        document = self.own_document(request, pk)
        if not services.retry_documents([document]):
            raise Problem(409, "not_failed", "Only a document that failed can be retried.")
        return Response(_shown(document), status=status.HTTP_202_ACCEPTED)


class ReprocessView(OwnDocumentMixin, APIView):
    @extend_schema(operation_id="documents_reprocess", request=None, responses={202: DocumentSerializer})
    def post(self, request: Request, pk: UUID) -> Response:
        """Process it anew; it stays searchable as it is until then."""
        document = self.own_document(request, pk)
        if not services.reprocess_documents([document]):
            raise Problem(409, "in_work", "The document is being processed right now.")
        return Response(_shown(document), status=status.HTTP_202_ACCEPTED)


class TextView(OwnDocumentMixin, APIView):
    @extend_schema(operation_id="documents_text", responses=TextSerializer)
    @cached_read(DOCUMENT_TEXT, document="pk")
    def get(self, request: Request, pk: UUID) -> Response:
        """Its text; all offsets of the API are code points into it, end exclusive."""
        document = self.own_document(request, pk)
        content = DocumentText.objects.of(document).only("text", "pages").first()
        if content is None:
            raise Problem(409, "not_extracted", "The text of this document is not there yet.")
        return Response(TextSerializer({"text": content.text, "pages": content.pages}).data)


class FileView(OwnDocumentMixin, APIView):
    @extend_schema(
        operation_id="documents_file",
        parameters=[OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="`bytes=0-99`: a part of it.")],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            416: None,
        },
    )
    def get(self, request: Request, pk: UUID) -> FileResponse:
        """The file as it was uploaded, or a range of its bytes."""
        return download(self.own_document(request, pk), request.headers.get("Range", ""))


class PageView(OwnDocumentMixin, APIView):
    @extend_schema(operation_id="documents_page", responses={(200, "image/webp"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: UUID, number: int) -> HttpResponse:
        """A page of a PDF as a picture."""
        document = self.own_document(request, pk)
        data = _from_sandbox(lambda: page_picture(document, number))
        return HttpResponse(data, content_type="image/webp", headers={"Cache-Control": PICTURE_CACHE})


class BoxesView(OwnDocumentMixin, APIView):
    @extend_schema(
        operation_id="documents_boxes",
        parameters=[
            OpenApiParameter("start", int, required=True, description="Code point of the document's text."),
            OpenApiParameter("end", int, required=True, description="Exclusive."),
        ],
        responses=BoxesSerializer,
    )
    def get(self, request: Request, pk: UUID, number: int) -> Response:
        """Where a span of the text stands on a page's picture."""
        document = self.own_document(request, pk)
        span = BoxesQuerySerializer(data=request.query_params)
        span.is_valid(raise_exception=True)
        boxes = _from_sandbox(
            lambda: passage_boxes(document, number, span.validated_data["start"], span.validated_data["end"])
        )
        return Response(BoxesSerializer({"page": number, "boxes": boxes}).data)


def _from_sandbox(ask: Any) -> Any:
    try:
        return ask()
    except NoSuchPage as error:
        raise Problem(404, "not_found", "This document has no such page, or its format has no pages.") from error
    except FileNotFoundError as error:
        raise Problem(404, "file_missing", "The file is gone from the storage. Upload it again.") from error
    except ExtractionRefused as error:
        raise Problem(422, error.code, error.detail) from error
    except SandboxUnavailable as error:
        detail = "Pages cannot be drawn at the moment. Try again in a few seconds."
        raise Problem(503, "sandbox_unavailable", detail, headers={"Retry-After": "3"}) from error


class ChunkListView(OwnDocumentMixin, generics.ListAPIView[Chunk]):
    """A document's chunks in the order of its text."""

    serializer_class = ChunkSerializer
    queryset = Chunk.objects.none()
    filter_backends = ()
    keyset_orderings: ClassVar[dict[str, Any]] = {"position": ("position",)}

    @cached_read(DOCUMENT_TEXT, document="document")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Chunk]:
        if getattr(self, "swagger_fake_view", False):
            return Chunk.objects.none()
        return Chunk.objects.of(self.document).listed()

    def get_serializer_context(self) -> dict[str, Any]:
        described = getattr(self, "swagger_fake_view", False)
        kind = Document.PageKind.PAGE if described else self.document.page_kind
        return {**super().get_serializer_context(), "page_kind": kind}

    @cached_property
    def document(self) -> Document:
        return self.own_document(self.request, self.kwargs["document"])


class SearchView(APIView):
    read_scope_methods = ("POST",)

    @extend_schema(operation_id="search", request=SearchSerializer, responses=SearchResultsSerializer)
    def post(self, request: Request) -> Response:
        """The passages that answer a query best, by words and by meaning."""
        form = SearchSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = form.validated_data
        try:
            scope = owned_scope(caller(request), wanted.get("documents"), wanted.get("collections"))
        except NotInLibrary as error:
            raise Problem(404, "not_found", str(error), error.errors) from error
        hits = _searched(scope, wanted["query"], wanted["limit"])
        return Response({"results": [result(hit, wanted["query"]) for hit in hits]})


def _searched(scope: Any, query: str, limit: int) -> list[Any]:
    try:
        return search(scope, query, limit)
    except EncoderUnavailable as error:
        detail = "The embedding model cannot be reached at the moment. Try again in a few seconds."
        raise Problem(503, "encoder_unavailable", detail, headers={"Retry-After": "3"}) from error
    except EncoderRejected as error:
        raise Problem(502, "encoder_rejected", str(error)) from error
