"""Endpoints of resumable uploads: tus 1.0.0 (https://tus.io/protocols/resumable-upload)."""

from collections.abc import Iterator
from typing import IO, Any
from uuid import UUID

from django.http import Http404
from django.utils import timezone
from django.utils.http import http_date
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from documents.api import UPLOAD_STATUS, owned_collections
from documents.services import UploadRefused
from documents.tus import headers, receiving
from documents.tus.models import PartialUpload
from ragsite.accounts.callers import caller
from ragsite.api.problems import CONTENT_TYPE as PROBLEM_TYPE
from ragsite.api.problems import Problem
from ragsite.api.throttling import UploadThrottle
from ragsite.api.uploads import upload_limit

MEDIA_TYPE = "application/offset+octet-stream"
BLOCK = 256 * 1024
CHECKSUM_MISMATCH = 460
SPEAKS_TUS = OpenApiParameter("Tus-Resumable", str, OpenApiParameter.HEADER, required=True, enum=[headers.VERSION])
OFFSET = OpenApiParameter("Upload-Offset", int, OpenApiParameter.HEADER, required=True)
LENGTH = OpenApiParameter("Upload-Length", int, OpenApiParameter.HEADER, required=True, description="Bytes.")
METADATA = OpenApiParameter(
    "Upload-Metadata",
    str,
    OpenApiParameter.HEADER,
    description="`filename`, `collection` (ids with commas between) and `unpack` (`true` for a ZIP archive whose files "
    "become documents), each with its value in base64.",
)
CHECKSUM = OpenApiParameter("Upload-Checksum", str, OpenApiParameter.HEADER, description="`sha256` and base64.")


class PartialUploadSerializer(serializers.ModelSerializer[PartialUpload]):
    offset = serializers.IntegerField(read_only=True)
    document = serializers.SerializerMethodField()
    job = serializers.SerializerMethodField()

    class Meta:
        model = PartialUpload
        fields = ("id", "filename", "length", "offset", "document", "job", "created_at", "expires_at")
        read_only_fields = fields

    def get_document(self, upload: PartialUpload) -> UUID | None:
        return None if upload.unpack else upload.result

    def get_job(self, upload: PartialUpload) -> UUID | None:
        return upload.result if upload.unpack else None


class BodyParser(BaseParser):
    """Leaves the body alone: it is read in blocks."""

    media_type = MEDIA_TYPE

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> dict[str, Any]:
        return {}


class TusView(APIView):
    """What all answers have in common."""

    parser_classes = (BodyParser,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        spoken = request.headers.get("Tus-Resumable")
        if request.method not in {"OPTIONS", "GET"} and spoken != headers.VERSION:
            detail = f"Send Tus-Resumable: {headers.VERSION}."
            raise Problem(412, "unsupported_version", detail, headers={"Tus-Version": headers.VERSION})

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Tus-Resumable"] = headers.VERSION
        response["Cache-Control"] = "no-store"
        return response

    def handle_exception(self, exc: Exception) -> Response:
        """What ends an upload under the hands of its sender: it was deleted, or damaged on the way."""
        if isinstance(exc, receiving.ChecksumMismatch):
            return _mismatch()
        if isinstance(exc, FileNotFoundError | PartialUpload.DoesNotExist):
            return super().handle_exception(Http404())
        return super().handle_exception(exc)

    @extend_schema(exclude=True)
    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """What this server can do."""
        able = {
            "Tus-Version": headers.VERSION,
            "Tus-Extension": headers.EXTENSIONS,
            "Tus-Max-Size": str(upload_limit()),
        }
        able["Tus-Checksum-Algorithm"] = ",".join(receiving.CHECKSUMS)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=able)

    def receive(self, request: Request, upload: PartialUpload, offset: int) -> None:
        """Take the request's body, and make the upload a document when it is complete. Raises Problem."""
        try:
            reached = receiving.append(upload, offset, _blocks(request, upload, offset))
            if reached == upload.length:
                receiving.finish(upload)
        except receiving.OffsetMoved as error:
            detail = (
                "The upload ends elsewhere: somebody else is adding to it. Ask for its offset and go on from there."
            )
            raise Problem(409, "offset_mismatch", detail) from error
        except UploadRefused as error:
            raise refusal(error) from error


def refusal(error: UploadRefused) -> Problem:
    """The answer to a file that is not taken."""
    return Problem(UPLOAD_STATUS.get(error.code, 422), error.code, error.detail, {"file": [error.detail]})


def _blocks(request: Request, upload: PartialUpload, offset: int) -> Iterator[bytes]:
    length = headers.whole_number(request.META.get("CONTENT_LENGTH") or "0", "Content-Length")
    if offset + length > upload.length:
        raise Problem(413, "too_large", "The body goes beyond the length that was announced.")
    blocks = iter(lambda: request._request.read(BLOCK), b"")
    given = request.headers.get("Upload-Checksum")
    return receiving.verified(blocks, *headers.parse_checksum(given, receiving.CHECKSUMS)) if given else blocks


def _state(upload: PartialUpload) -> dict[str, str]:
    told = {"Upload-Offset": str(upload.offset), "Upload-Expires": http_date(upload.expires_at.timestamp())}
    if upload.result:
        told["Upload-Import" if upload.unpack else "Upload-Document"] = str(upload.result)
    return told


def _mismatch() -> Response:
    """tus has a status of its own, for which HTTP has no phrase."""
    title, detail = "Checksum Mismatch", "What arrived is not what was sent. Nothing of it was kept; send it again."
    body = {"type": "about:blank", "title": title, "status": CHECKSUM_MISMATCH, "detail": detail}
    return Response({**body, "code": "checksum_mismatch"}, status=CHECKSUM_MISMATCH, content_type=PROBLEM_TYPE)


class PartialUploadListView(TusView):
    throttle_classes = (*APIView.throttle_classes, UploadThrottle)

    @extend_schema(
        operation_id="uploads_create",
        parameters=[SPEAKS_TUS, LENGTH, METADATA],
        request=None,
        responses={201: None, 412: None},
    )
    def post(self, request: Request) -> Response:
        """Begin a resumable upload (tus 1.0.0); `Location` says where its bytes go."""
        length = headers.whole_number(request.headers.get("Upload-Length"), "Upload-Length")
        raw = request.headers.get("Upload-Metadata", "")
        said = headers.parse_metadata(raw)
        upload = _begun(request, length, raw, said)
        location = reverse("api-upload", [upload.id], request=request)
        if request.content_type == MEDIA_TYPE:
            self.receive(request, upload, 0)
        return Response(status=status.HTTP_201_CREATED, headers={"Location": location, **_state(upload)})


def _begun(request: Request, length: int, raw: str, said: dict[str, str]) -> PartialUpload:
    try:
        return receiving.begin_upload(
            owner=caller(request),
            length=length,
            filename=said.get("filename") or said.get("name", ""),
            metadata=raw,
            collections=_collections(request, said.get("collection", "")),
            unpack=said.get("unpack") == "true",
        )
    except UploadRefused as error:
        raise refusal(error) from error
    except receiving.TooManyOpen as error:
        detail = f"You have begun {receiving.MOST_OPEN} uploads that are not finished. Finish or delete some first."
        raise Problem(409, "too_many_uploads", detail) from error


def _collections(request: Request, listed: str) -> list[UUID]:
    try:
        wanted = {UUID(value) for value in filter(None, listed.split(","))}
    except ValueError as error:
        raise Problem(400, "invalid_header", "`collection` must be ids with commas between.") from error
    return [collection.id for collection in owned_collections(request, list(wanted))]


class PartialUploadView(TusView):
    def own_upload(self, request: Request, pk: UUID) -> PartialUpload:
        upload = PartialUpload.objects.select_related("owner").filter(owner=caller(request), id=pk).first()
        if upload is None or not (upload.result or upload.path.exists()):
            raise Http404
        if upload.expires_at < timezone.now():
            raise Problem(410, "expired", "This upload was not gone on with in time. Begin it anew.")
        return upload

    @extend_schema(operation_id="uploads_retrieve", responses={200: PartialUploadSerializer, 410: None})
    def get(self, request: Request, pk: UUID) -> Response:
        """How far a resumable upload is, and what it has become."""
        return Response(PartialUploadSerializer(self.own_upload(request, pk)).data)

    @extend_schema(operation_id="uploads_offset", parameters=[SPEAKS_TUS], responses={200: None})
    def head(self, request: Request, pk: UUID) -> Response:
        """Where to go on: `Upload-Offset`."""
        upload = self.own_upload(request, pk)
        told = {**_state(upload), "Upload-Length": str(upload.length), "Upload-Metadata": upload.metadata}
        return Response(headers={name: value for name, value in told.items() if value})

    @extend_schema(
        operation_id="uploads_append",
        parameters=[SPEAKS_TUS, OFFSET, CHECKSUM],
        request={MEDIA_TYPE: bytes},
        responses={
            204: None,
            410: None,
            412: None,
            CHECKSUM_MISMATCH: None,
        },
    )
    def patch(self, request: Request, pk: UUID) -> Response:
        """Add the body's bytes at `Upload-Offset`. What was received counts, however the request ends.

        With the last byte the upload is a document: `Upload-Document` names it (`Upload-Import` an import).
        An empty body at the end asks for that again, after an answer that was lost or a full disk.
        """
        if request.content_type != MEDIA_TYPE:
            raise Problem(415, "unsupported_media_type", f"The body's type must be {MEDIA_TYPE}.")
        upload = self.own_upload(request, pk)
        offset = headers.whole_number(request.headers.get("Upload-Offset"), "Upload-Offset")
        if upload.offset != offset:
            raise Problem(409, "offset_mismatch", f"The upload is at {upload.offset}, not at {offset}.")
        if upload.result is None:
            self.receive(request, upload, offset)
            upload.refresh_from_db(fields=["expires_at"])
        return Response(status=status.HTTP_204_NO_CONTENT, headers=_state(upload))

    @extend_schema(operation_id="uploads_delete", parameters=[SPEAKS_TUS], responses={204: None, 410: None, 412: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Give it up; nothing of it stays. A document that it has become does."""
        receiving.drop(self.own_upload(request, pk))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(exclude=True)
    def post(self, request: Request, pk: UUID) -> Response:
        """For clients behind something that lets only POST through: tus's X-HTTP-Method-Override."""
        meant = request.headers.get("X-HTTP-Method-Override", "").upper()
        if meant not in {"PATCH", "DELETE"}:
            raise Problem(405, "method_not_allowed", "Send PATCH to add to an upload.")
        return self.patch(request, pk) if meant == "PATCH" else self.delete(request, pk)
