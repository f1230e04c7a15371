"""Endpoints of imports."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from documents.api import UPLOAD_STATUS, owned_collections
from documents.importing.models import Import, ImportItem
from documents.importing.services import drop_import, import_address, import_archive
from documents.services import UploadRefused
from ragsite.accounts.callers import caller
from ragsite.accounts.models import IdempotencyKey
from ragsite.api.idempotency import idempotent
from ragsite.api.parsers import StrictJSONParser
from ragsite.api.problems import Problem
from ragsite.api.throttling import UploadThrottle

REFUSED_STATUS = {**UPLOAD_STATUS, "invalid_address": 400, "too_many_imports": 409}


class ImportErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class ImportSerializer(serializers.ModelSerializer[Import]):
    """An import as every endpoint shows it."""

    created = serializers.IntegerField(read_only=True)
    known = serializers.IntegerField(read_only=True, help_text="Were in the library already.")
    refused = serializers.IntegerField(read_only=True)
    left_out = serializers.IntegerField(read_only=True, help_text="Hidden files and links.")
    error = serializers.SerializerMethodField()

    class Meta:
        model = Import
        fields = (
            "id", "kind", "source", "collections", "folders", "status", "total", "done", "created", "known", "refused",
            "left_out", "waiting_for", "error", "created_at", "finished_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_error(self, job: Import) -> dict[str, str] | None:
        return {"code": job.error_code, "detail": job.error_detail} if job.error_code else None

    get_error.__annotations__["return"] = ImportErrorSerializer(allow_null=True)


class ImportItemSerializer(serializers.ModelSerializer[ImportItem]):
    """What became of one file."""

    document = serializers.UUIDField(source="document_id", read_only=True, allow_null=True)

    class Meta:
        model = ImportItem
        fields = ("position", "name", "outcome", "document", "code", "detail")
        read_only_fields = fields


class NewImportSerializer(serializers.Serializer[Any]):
    """Either an archive or an address."""

    file = serializers.FileField(required=False, allow_empty_file=True, help_text="A ZIP archive.")
    url = serializers.CharField(required=False, max_length=2000, help_text="A file's or a page's address.")
    collection = serializers.ListField(child=serializers.UUIDField(), required=False, help_text="May be repeated.")
    folders = serializers.BooleanField(default=False, help_text="Each folder of the archive becomes a collection.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("file" in attrs) == ("url" in attrs):
            raise serializers.ValidationError("Send either a file or a url.")
        return attrs


def own_imports(request: Request) -> QuerySet[Import]:
    """The caller's, with how many files came to what."""
    return Import.objects.for_user(caller(request)).counted()


def _own_import(request: Request, pk: UUID) -> Import:
    job = own_imports(request).filter(id=pk).first()
    if job is None:
        raise Http404
    return job


class ImportView(APIView):
    parser_classes = (MultiPartParser, StrictJSONParser)
    throttle_classes = (*APIView.throttle_classes, UploadThrottle)

    @extend_schema(
        operation_id="imports_create",
        request={"multipart/form-data": NewImportSerializer, "application/json": NewImportSerializer},
        responses={202: ImportSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Make documents of the files in a ZIP archive, or of the file at a web address, in the background.

        An archive that is a document itself (a .docx, an EPUB) becomes that one document.
        """
        form = NewImportSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        job = _begun(request, form.validated_data)
        claim = request.idempotency  # type: ignore[attr-defined]
        if claim:
            claim.finish(status.HTTP_202_ACCEPTED, {"id": job.id})
        return _accepted(request, job.id)

    def replay(self, request: Request, row: IdempotencyKey) -> Response | None:
        """The import that a request has begun, as it is now; None when it was deleted since."""
        kept: dict[str, str] = row.body or {}
        return _accepted(request, UUID(kept["id"])) if own_imports(request).filter(id=kept["id"]).exists() else None


def _begun(request: Request, wanted: dict[str, Any]) -> Import:
    owner, collections = caller(request), owned_collections(request, wanted.get("collection", []))
    try:
        if "url" in wanted:
            return import_address(owner=owner, address=wanted["url"], collections=collections)
        file = wanted["file"]
        return import_archive(
            owner=owner, file=file, filename=file.name, collections=collections, folders=wanted["folders"]
        )
    except UploadRefused as error:
        field = "url" if "url" in wanted else "file"
        raise Problem(REFUSED_STATUS.get(error.code, 422), error.code, error.detail, {field: [error.detail]}) from error


def _accepted(request: Request, pk: UUID) -> Response:
    where = reverse("api-import-detail", [pk], request=request)
    shown = ImportSerializer(_own_import(request, pk)).data
    return Response(shown, status=status.HTTP_202_ACCEPTED, headers={"Location": where})


class ImportListView(generics.ListAPIView[Import]):
    """One's imports."""

    serializer_class = ImportSerializer
    queryset = Import.objects.none()
    filter_backends = ()
    keyset_orderings: ClassVar[dict[str, Any]] = {"-created_at": ("-created_at", "-id")}

    def get_queryset(self) -> QuerySet[Import]:
        return own_imports(self.request)


class ImportDetailView(APIView):
    @extend_schema(operation_id="imports_retrieve", responses=ImportSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        """How far an import is."""
        return Response(ImportSerializer(_own_import(request, pk)).data)

    @extend_schema(operation_id="imports_delete", responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Stop it, and forget it. The documents that it has made stay."""
        drop_import(_own_import(request, pk))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ImportItemListView(generics.ListAPIView[ImportItem]):
    """What became of each file, in the archive's order."""

    serializer_class = ImportItemSerializer
    queryset = ImportItem.objects.none()
    filter_backends = ()
    keyset_orderings: ClassVar[dict[str, Any]] = {"position": ("position", "id")}

    def get_queryset(self) -> QuerySet[ImportItem]:
        if getattr(self, "swagger_fake_view", False):
            return ImportItem.objects.none()
        return ImportItem.objects.filter(job=_own_import(self.request, self.kwargs["pk"]))
