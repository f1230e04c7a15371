"""The endpoint that has a document replace another one."""

from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from documents.api import OwnDocumentMixin, _shown
from documents.models import Document
from documents.replacing import CannotReplace, keep_both, replace_document, replaceable_by
from documents.serializers import DocumentSerializer, UploadedSerializer
from documents.services import DocumentGone
from ragsite.accounts.callers import caller
from ragsite.api.problems import Problem


class ReplaceSerializer(serializers.Serializer[Any]):
    replaces = serializers.UUIDField(allow_null=True, help_text="The document to replace; null: keep both.")


class ReplaceView(OwnDocumentMixin, APIView):
    @extend_schema(operation_id="documents_replaceable", responses=UploadedSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        """The document with the one of its name that it may replace, for uploads whose answer had no body."""
        document = Document.objects.with_collections(caller(request)).filter(id=pk).first()
        if document is None:
            raise Http404
        return Response(UploadedSerializer(document, context={"namesake": replaceable_by(document)}).data)

    @extend_schema(operation_id="documents_replace", request=ReplaceSerializer, responses=DocumentSerializer)
    def post(self, request: Request, pk: UUID) -> Response:
        """Have it take the place of another document, and of that one's collections, as soon as it is processed.

        Until then the other one is searched and this one is not; should this one fail, the other one stays.
        """
        document = self.own_document(request, pk)
        form = ReplaceSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        replaced = form.validated_data["replaces"]
        try:
            if replaced is None:
                keep_both(owner_id=document.owner_id, document=document.id)
            else:
                replace_document(owner_id=document.owner_id, document=document.id, replaced=replaced)
        except DocumentGone as error:
            raise Http404 from error
        except CannotReplace as error:
            raise Problem(409, "cannot_replace", str(error)) from error
        return Response(_shown(document))
