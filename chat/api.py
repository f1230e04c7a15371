"""Endpoints of conversations and messages."""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import services
from chat.answers import following
from chat.answers.connections import release_connection
from chat.answers.events import Event
from chat.answers.producer import TooBusy
from chat.caching import CONVERSATION_DETAIL, CONVERSATION_LIST
from chat.engines import pickable_models
from chat.filters import ConversationFilter
from chat.models import Conversation, Message
from chat.representations import conversation_json, whole_message_json
from chat.scopes import scope_of, visible_scopes
from chat.seats import Seat, seated
from chat.serializers import (
    ConversationChangeSerializer,
    ConversationDetailSerializer,
    ConversationSerializer,
    LanguageModelListSerializer,
    MessageSerializer,
    NewConversationSerializer,
    NewMessageSerializer,
)
from documents.scopes import NotInLibrary, owned_scope
from documents.search import Scope
from ragsite.accounts.callers import caller
from ragsite.accounts.models import IdempotencyKey
from ragsite.api.forms import validated
from ragsite.api.idempotency import idempotent
from ragsite.api.pagination import KeysetPagination
from ragsite.api.problems import Problem
from ragsite.api.throttling import MessageThrottle
from ragsite.caching.views import cached_read

EVENT_STREAM = "text/event-stream"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
STATUS_OF_FAILURE = {
    "model_unreachable": 502,
    "model_rejected": 502,
    "model_timeout": 504,
    "context_too_long": 422,
    "database_unavailable": 503,
    "not_stored": 503,
    "too_busy": 503,
    "interrupted": 503,
    "deleted": 404,
    "account_deactivated": 403,
}
"""What the JSON answer says of an answer that could not be given; 500 for all else."""
MESSAGE_ORDERINGS = {"created_at": ("created_at", "id"), "-created_at": ("-created_at", "-id")}
STREAM_SCHEMA = OpenApiResponse(
    OpenApiTypes.STR,
    "Server-Sent Events: `status`, `passages`, `token`, `citation`, then `done` or `error`. docs/api.md",
)
ANSWER_SCHEMA = {201: MessageSerializer, (200, EVENT_STREAM): STREAM_SCHEMA}


def accepts_stream(request: Request) -> bool:
    return EVENT_STREAM in request.headers.get("Accept", "")


def event_stream(frames: Iterator[bytes], seat: Seat) -> StreamingHttpResponse:
    release_connection()  # a stream may last for minutes
    return StreamingHttpResponse(seat.keep_for(frames), content_type=EVENT_STREAM, headers=STREAM_HEADERS)


def given_scope(request: Request, values: dict[str, Any]) -> Scope | None:
    """The scope that a request names; None when it names none."""
    documents, collections = values.get("documents"), values.get("collections")
    if documents is None and collections is None:
        return None
    try:
        return owned_scope(caller(request), documents, collections)
    except NotInLibrary as error:
        raise Problem(404, "not_found", str(error), error.errors) from error


def shown(request: Request, conversation: Conversation) -> dict[str, Any]:
    return conversation_json(conversation, visible_scopes(caller(request), [conversation])[0])


def own_conversation(request: Request, pk: UUID) -> Conversation:
    conversation = Conversation.objects.for_user(caller(request)).filter(id=pk).first()
    if conversation is None:
        raise Http404
    return conversation


def own_message(request: Request, pk: UUID) -> Message:
    message = Message.objects.whole(caller(request).pk).filter(id=pk).first()
    if message is None:
        raise Http404
    return message


def named(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


class ConversationListView(generics.ListAPIView[Conversation]):
    """One's conversations, newest activity first. Archived ones are listed when asked for, and found by `search`."""

    serializer_class = ConversationSerializer
    queryset = Conversation.objects.none()
    filterset_class = ConversationFilter
    keyset_orderings: ClassVar[dict[str, Any]] = {"-updated_at": ("-updated_at", "-id")}

    def get_queryset(self) -> QuerySet[Conversation]:
        return Conversation.objects.for_user(caller(self.request))

    @cached_read(CONVERSATION_LIST)
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        scopes = visible_scopes(caller(request), page)
        return self.get_paginated_response([conversation_json(*pair) for pair in zip(page, scopes, strict=True)])

    @extend_schema(
        operation_id="conversations_create",
        request=NewConversationSerializer,
        responses={201: ConversationSerializer},
    )
    def post(self, request: Request) -> Response:
        """Begin a conversation, about the whole library or a part of it."""
        given = validated(NewConversationSerializer, request.data)
        scope = given_scope(request, given)
        conversation = services.create_conversation(
            owner=caller(request), scope=scope, **named(given, "title", "language_model", "style")
        )
        return Response(shown(request, conversation), status=status.HTTP_201_CREATED)


class ConversationView(APIView):
    """One conversation."""

    keyset_orderings: ClassVar[dict[str, Any]] = MESSAGE_ORDERINGS

    @extend_schema(
        operation_id="conversations_retrieve",
        responses=ConversationDetailSerializer,
        parameters=[
            OpenApiParameter("cursor", str, description="From `messages.next` or `messages.previous`."),
            OpenApiParameter("page_size", int, description="Messages; at most 100."),
            OpenApiParameter("ordering", str, enum=list(MESSAGE_ORDERINGS), description="Of the messages."),
        ],
    )
    @cached_read(CONVERSATION_DETAIL, conversation="pk")
    def get(self, request: Request, pk: UUID) -> Response:
        """With a page of its messages."""
        conversation = own_conversation(request, pk)
        messages = page_of_messages(self, request, conversation)
        return Response({**shown(request, conversation), "messages": messages.data})

    @extend_schema(
        operation_id="conversations_change", request=ConversationChangeSerializer, responses=ConversationSerializer
    )
    def patch(self, request: Request, pk: UUID) -> Response:
        """Rename, pin, archive it, or change what it is about (both lists empty or null: the whole library)."""
        conversation = own_conversation(request, pk)
        form = ConversationChangeSerializer(data=request.data, partial=True)
        form.is_valid(raise_exception=True)
        changes = dict(form.validated_data)
        if {"documents", "collections"} & changes.keys():
            changes["scope"] = changed_scope(request, conversation, changes)
        services.update_conversation(conversation=conversation, changes=changes)
        return Response(shown(request, conversation))

    @extend_schema(operation_id="conversations_delete", responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Delete it with all its messages; a running answer stops."""
        services.delete_conversation(conversation=own_conversation(request, pk))
        return Response(status=status.HTTP_204_NO_CONTENT)


def changed_scope(request: Request, conversation: Conversation, changes: dict[str, Any]) -> Scope:
    """The conversation's scope with the kinds exchanged that the changes name."""
    given = given_scope(request, changes) or Scope(conversation.owner_id)
    kept = scope_of(conversation)  # with what was deleted meanwhile: without it, a list could become the whole library
    return Scope(
        conversation.owner_id,
        given.documents if "documents" in changes else kept.documents,
        given.collections if "collections" in changes else kept.collections,
    )


def page_of_messages(view: APIView, request: Request, conversation: Conversation) -> Response:
    paginator = KeysetPagination()
    page = paginator.paginate_queryset(Message.objects.of(conversation).whole(conversation.owner_id), request, view)
    return paginator.get_paginated_response([whole_message_json(message) for message in page])


class MessageListView(generics.GenericAPIView[Message]):
    """The messages of a conversation; a POST asks a question."""

    serializer_class = MessageSerializer
    queryset = Message.objects.none()
    filterset_class = None
    throttle_classes = (*APIView.throttle_classes, MessageThrottle)
    keyset_orderings: ClassVar[dict[str, Any]] = MESSAGE_ORDERINGS

    @extend_schema(operation_id="messages_list", responses=MessageSerializer(many=True))
    @cached_read(CONVERSATION_DETAIL, conversation="pk")
    def get(self, request: Request, pk: UUID) -> Response:
        """Its messages, oldest first."""
        return page_of_messages(self, request, own_conversation(request, pk))

    @extend_schema(
        operation_id="messages_create",
        request=NewMessageSerializer,
        responses=ANSWER_SCHEMA,
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="Ask only once.")],
    )
    @idempotent
    def post(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Ask. Gives the answer when it is done, or, with `Accept: text/event-stream`, as it is written."""
        found = services.conversation_with_turns(caller(request).pk, pk)
        if found is None:
            raise Http404
        conversation, history = found
        given = validated(NewMessageSerializer, request.data)
        scope = given_scope(request, given)
        claim = request.idempotency  # type: ignore[attr-defined]
        with seated(caller(request).pk) as seat:
            asked = ask(
                conversation=conversation,
                content=given["content"],
                scope=scope,
                history=history,
                **named(given, "style", "language_model", "fresh"),
                within=partial(_keep, claim) if claim else None,
            )
            log = asked.answer.log
            if accepts_stream(request):
                return event_stream(following.frames(following.follow_log(log)), seat)
            return answered(following.last_event(log))

    def replay(self, request: Request, row: IdempotencyKey, **_kwargs: Any) -> HttpResponseBase | None:
        """The same question with the same Idempotency-Key again: its answer. One that failed is tried again."""
        kept: dict[str, str] = row.body or {}
        message = own_message(request, UUID(kept["message"]))
        if message.status in {Message.Status.FAILED, Message.Status.INTERRUPTED}:
            return None
        with seated(message.owner_id) as seat:
            return respond(request, following.follow(message), seat)


def _keep(claim: Any, answer: Message) -> None:
    claim.finish(status.HTTP_201_CREATED, {"message": str(answer.id)})


def ask(**question: Any) -> services.Asked:
    """``services.ask`` with its refusals as problems."""
    try:
        return services.ask(**question)
    except services.AnswerInProgress as error:
        raise Problem(409, "answer_in_progress", "An answer is running in this conversation.") from error
    except services.ConversationGone as error:
        raise Http404 from error
    except TooBusy as error:
        busy = "Too many answers are being written at the moment; try again shortly."
        raise Problem(503, "too_busy", busy, headers={"Retry-After": "2"}) from error


def respond(request: Request, batches: following.Batches, seat: Seat) -> HttpResponseBase:
    """The answer as a stream, or as JSON when it is done."""
    if accepts_stream(request):
        return event_stream(following.frames(batches), seat)
    release_connection()
    return answered(following.last_of(batches))


def answered(last: Event) -> Response:
    return Response(message_of(last), status=status.HTTP_201_CREATED)


def message_of(last: Event) -> dict[str, Any]:
    """The message that the last event of an answer carries; raises the Problem that it tells of."""
    if last.name == "error":
        code, detail = last.data["code"], last.data["detail"]
        raise Problem(STATUS_OF_FAILURE.get(code, 500), code, detail)
    message: dict[str, Any] = last.data["message"]
    return message


class LanguageModelsView(APIView):
    @extend_schema(operation_id="language_models", responses=LanguageModelListSerializer)
    def get(self, request: Request) -> Response:
        """What a conversation may name as its `language_model`: those configured, then `extractive`, which quotes."""
        return Response({"results": pickable_models()})


class MessageView(APIView):
    @extend_schema(operation_id="messages_retrieve", responses=MessageSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        """One message; an answer that is running has no content yet."""
        return Response(whole_message_json(own_message(request, pk)))


class EventsView(APIView):
    @extend_schema(
        operation_id="messages_events",
        responses={(200, EVENT_STREAM): STREAM_SCHEMA},
        parameters=[
            OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER, description="Go on after this event.")
        ],
    )
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        """The events of an answer, from the beginning or from where a lost connection ended."""
        message = own_message(request, pk)
        if message.role != Message.Role.ASSISTANT:
            raise Http404
        with seated(message.owner_id) as seat:
            return event_stream(following.frames(following.follow(message, last_event_id(request))), seat)


def last_event_id(request: Request) -> int:
    """What a browser's EventSource sends; 0 when there is none, or none of ours."""
    given = request.headers.get("Last-Event-ID", "")
    return int(given) if given.isdecimal() and len(given) < 10 else 0


class StopView(APIView):
    @extend_schema(operation_id="messages_stop", request=None, responses={202: MessageSerializer})
    def post(self, request: Request, pk: UUID) -> Response:
        """Stop an answer, wherever it is written; what was written is kept. Without effect on one that is done."""
        message = own_message(request, pk)
        services.stop_answer(message=message)
        return Response(whole_message_json(message), status=status.HTTP_202_ACCEPTED)
