"""Endpoints that do what no real one does, for the tests of the plumbing."""

import threading

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response
from rest_framework.views import APIView

from ragsite.accounts.models import User
from ragsite.api.idempotency import idempotent
from ragsite.api.parsers import StrictJSONParser
from ragsite.api.problems import Problem
from ragsite.api.throttling import MessageThrottle
from ragsite.urls import (  # noqa: F401  (the handlers are Django's names)
    handler400,
    handler403,
    handler404,
    handler500,
)
from ragsite.urls import (
    urlpatterns as site,
)


class Line(serializers.Serializer):
    text = serializers.CharField(max_length=5)


class Order(serializers.Serializer):
    name = serializers.CharField()
    lines = Line(many=True)

    def validate(self, data):
        if data["name"] == "forbidden":
            raise serializers.ValidationError("Not this one.")
        return data


class OrderView(APIView):
    parser_classes = [StrictJSONParser, MultiPartParser]

    def post(self, request):
        order = Order(data=request.data)
        order.is_valid(raise_exception=True)
        return Response(order.data)


class RaisingView(APIView):
    errors = {
        "problem": lambda: Problem(409, "answer_in_progress", "Wait.", {"x": ["y"]}, {"Retry-After": "3"}),
        "missing": lambda: Http404("secret model name"),
        "forbidden": lambda: PermissionDenied("No."),
        "fault": lambda: RuntimeError("password=hunter2"),
        "full": lambda: OSError(28, "No space left on device"),
    }

    def get(self, request, kind):
        raise self.errors[kind]()


def plain_fault(request):
    raise RuntimeError("password=hunter2")


def page_fault(request):
    raise RuntimeError("password=hunter2")


class CountingView(APIView):
    """Makes something with each POST; `hold` lets a test stop it in the middle."""

    parser_classes = [StrictJSONParser, MultiPartParser]
    made: list = []
    entered, hold = threading.Event(), None

    @extend_schema(request=None, responses={201: None})
    @idempotent
    def post(self, request):
        """Make one."""
        self.entered.set()
        if self.hold:
            self.hold.wait(20)
        if request.data.get("fail") == "invalid":
            raise serializers.ValidationError({"fail": ["so it does"]})
        if request.data.get("fail") == "fault":
            raise RuntimeError
        self.made.append(request.data.get("content"))
        return Response({"number": len(self.made)}, status=201)


class StreamingView(APIView):
    """As chat does it: keeps the id of what it made, in its own transaction, and answers as a stream."""

    made: list = []

    @idempotent
    def post(self, request):
        self.made.append(1)
        if request.idempotency:
            request.idempotency.finish(201, {"id": len(self.made)})
        if request.data.get("fail"):
            raise RuntimeError
        return self.stream(len(self.made))

    def replay(self, request, row):
        return self.stream(row.body["id"])

    def stream(self, number):
        return StreamingHttpResponse([f"data: {number}\n\n"], content_type="text/event-stream")


class ThrottledView(APIView):
    throttle_classes = [MessageThrottle]

    def get(self, request):
        return Response()

    def post(self, request):
        return Response()


class PeopleView(APIView):
    keyset_orderings = {"-date_joined": ("-date_joined", "-id"), "username": ("username", "id")}

    def get(self, request):
        from ragsite.api.pagination import KeysetPagination

        pages = KeysetPagination()
        rows = pages.paginate_queryset(User.objects.all(), request, self)
        return pages.get_paginated_response([user.username for user in rows])


urlpatterns = [
    path("api/v1/test/orders", OrderView.as_view()),
    path("api/v1/test/raise/<str:kind>", RaisingView.as_view()),
    path("api/v1/test/plain-fault", plain_fault),
    path("api/v1/test/count", CountingView.as_view()),
    path("api/v1/test/stream", StreamingView.as_view()),
    path("api/v1/test/throttled", ThrottledView.as_view()),
    path("api/v1/test/people", PeopleView.as_view()),
    path("test/fault", page_fault),
    path("test/ok", lambda request: HttpResponse("ok")),
    *site,
]
