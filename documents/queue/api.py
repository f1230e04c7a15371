"""Endpoints of the queue."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from documents.api import OwnDocumentMixin
from documents.models import Document
from documents.queue.state import queue_of, queue_of_site
from documents.queue.why import why
from documents.services import retry_failed
from ragsite.accounts.callers import caller
from ragsite.api.problems import Problem


class ActionSerializer(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    method = serializers.CharField()
    url = serializers.CharField()


STATES = (
    "processed", "processed_with_warnings", "failed", "in_work", "waiting_for_turn", "backing_off", "worker_lost",
    "no_worker",
)  # fmt: skip


class WhySerializer(serializers.Serializer[Any]):
    """Why a document is not done."""

    state = serializers.ChoiceField(choices=STATES)
    sentence = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    waits_for = serializers.CharField(allow_null=True, help_text="A stage, turn, worker, or what is unavailable.")
    documents_ahead = serializers.IntegerField(source="forecast.ahead")
    remaining_seconds = serializers.FloatField(source="forecast.remaining", allow_null=True)
    ready_at = serializers.DateTimeField(source="forecast.ready_at", allow_null=True)
    next_try_at = serializers.DateTimeField(allow_null=True)
    action = ActionSerializer(allow_null=True, help_text="What helps, where something does.")


class QueueSerializer(serializers.Serializer[Any]):
    waiting = serializers.IntegerField()
    in_work = serializers.IntegerField()
    failed = serializers.IntegerField()
    oldest_seconds = serializers.FloatField(allow_null=True, help_text="Since when the longest waiting one is due.")
    remaining_seconds = serializers.FloatField(allow_null=True, help_text="Null: too little is measured, or no worker.")
    ready_at = serializers.DateTimeField(allow_null=True)
    measuring = serializers.BooleanField(help_text="There is no estimate because too little was measured yet.")
    worker_alive = serializers.BooleanField()


class QueueQuerySerializer(serializers.Serializer[Any]):
    scope = serializers.ChoiceField(choices=["own", "site"], default="own", help_text="site: for staff alone.")


class RetrySerializer(serializers.Serializer[Any]):
    collection = serializers.UUIDField(required=False)
    content_type = serializers.CharField(required=False, max_length=150)
    code = serializers.CharField(required=False, max_length=50, help_text="Those that failed with this error alone.")
    retryable_only = serializers.BooleanField(default=False)


class RetriedSerializer(serializers.Serializer[Any]):
    retried = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="How many of those that were meant are failed still.")


class WhyView(OwnDocumentMixin, APIView):
    @extend_schema(operation_id="documents_why", responses=WhySerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        """Why it is not done: what it waits for, until about when, and what helps."""
        return Response(WhySerializer(why(self.own_document(request, pk))).data)


class QueueView(APIView):
    @extend_schema(operation_id="queue_retrieve", parameters=[QueueQuerySerializer], responses=QueueSerializer)
    def get(self, request: Request) -> Response:
        """One's documents that are not done, and about how long they take; for staff those of the whole site."""
        form = QueueQuerySerializer(data=request.query_params)
        form.is_valid(raise_exception=True)
        if form.validated_data["scope"] == "own":
            return Response(QueueSerializer(queue_of(caller(request))).data)
        if not caller(request).is_staff:
            raise Problem(403, "staff_only", "Only staff may see the queue of the whole site.")
        return Response(QueueSerializer(queue_of_site()).data)


class RetryAllView(APIView):
    @extend_schema(operation_id="documents_retry_all", request=RetrySerializer, responses={202: RetriedSerializer})
    def post(self, request: Request) -> Response:
        """Try all of one's failed documents again, or those that are named by the filters; 10,000 at most at once."""
        form = RetrySerializer(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = form.validated_data
        failed = Document.objects.for_user(caller(request)).failed()
        if "collection" in wanted:
            failed = failed.in_collection(wanted["collection"])
        if "content_type" in wanted:
            failed = failed.filter(content_type=wanted["content_type"])
        if "code" in wanted:
            failed = failed.filter(error_code=wanted["code"])
        if wanted["retryable_only"]:
            failed = failed.filter(error_retryable=True)
        retried = retry_failed(failed)
        return Response({"retried": retried, "failed": failed.count()}, status=status.HTTP_202_ACCEPTED)
