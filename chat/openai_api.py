"""The API that OpenAI's clients speak: a library as a model. Nothing is stored; the client keeps the conversation."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http.response import HttpResponse, HttpResponseBase
from django.urls import reverse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat.answers import events, producer
from chat.answers.connections import release_connection
from chat.answers.events import Event
from chat.answers.following import follow_log, last_event
from chat.answers.question import Question
from chat.answers.running import RunningAnswer, StopReason
from chat.api import EVENT_STREAM, STATUS_OF_FAILURE, event_stream, named
from chat.engines import Turn
from chat.openai_serializers import ChatCompletionSerializer, ModelListSerializer, ModelSerializer
from chat.openai_tasks import task_reply
from chat.scopes import instructions_for
from chat.seats import seated
from documents.models import Collection
from documents.search import Scope
from ragsite.accounts.callers import caller
from ragsite.api.problems import Problem, as_problem
from ragsite.api.throttling import MessageThrottle
from ragsite.fields import new_id

LIBRARY_MODEL = "ragsite"
END_OF_STREAM = b"data: [DONE]\n\n"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
Answered = dict[str, Any]


class OpenAIView(APIView):
    """Errors in OpenAI's form, because its clients read no other."""

    def get_exception_handler(self) -> Any:
        return error_response


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    problem = as_problem(error)
    if problem is None:
        return None
    fields = [f"{name}: {messages[0]}" for name, messages in problem.errors.items()]
    message = "; ".join(fields) or str(problem.detail)
    return Response(
        error_body(problem.status_code, problem.code, message), problem.status_code, headers=problem.headers
    )


def error_body(status: int, code: str, message: str) -> dict[str, Any]:
    kind = ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class ModelsView(OpenAIView):
    @extend_schema(operation_id="openai_models", responses=ModelListSerializer)
    def get(self, request: Request) -> Response:
        """The library as the model `ragsite`, and each collection as `ragsite/ID`."""
        collections = Collection.objects.for_user(caller(request)).order_by("created_at")[:1000]
        listed = [model_json(f"{LIBRARY_MODEL}/{entry.id}", int(entry.created_at.timestamp())) for entry in collections]
        return Response({"object": "list", "data": [model_json(LIBRARY_MODEL, 0), *listed]})


class ModelView(OpenAIView):
    @extend_schema(operation_id="openai_model", responses=ModelSerializer)
    def get(self, request: Request, model: str) -> Response:
        """One model."""
        scope_of_model(request, model)
        return Response(model_json(model, 0))


def model_json(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": LIBRARY_MODEL}


class ChatCompletionsView(OpenAIView):
    throttle_classes = (*APIView.throttle_classes, MessageThrottle)

    @extend_schema(
        operation_id="openai_chat_completions",
        request=ChatCompletionSerializer,
        responses={
            (200, "application/json"): OpenApiResponse(dict, "A chat completion, as OpenAI gives it."),
            (200, EVENT_STREAM): OpenApiResponse(str, "Its chunks."),
        },
    )
    def post(self, request: Request) -> HttpResponseBase:
        """Ask the library, or with the model `ragsite/ID` a collection. Citations are annotations of the message."""
        form = ChatCompletionSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = form.validated_data
        scope = scope_of_model(request, wanted["model"])
        if (reply := task_reply(wanted["messages"])) is not None:
            return task_response(reply, wanted)
        question = replace(question_of(wanted["messages"], scope), **named(wanted, "language_model", "style"))
        site = request.build_absolute_uri("/")
        with seated(caller(request).pk) as seat:
            answer = begin(caller(request).pk, question)
            release_connection()
            if not wanted["stream"]:
                return Response(completion(answer, wanted["model"], site))
            options = wanted.get("stream_options") or {}
            chunks = streamed(answer, wanted["model"], site, bool(options.get("include_usage")))
            return event_stream(chunks, seat)


def scope_of_model(request: Request, model: str) -> Scope:
    """What the model stands for. Raises Problem 404 for one that is not the caller's."""
    if model == LIBRARY_MODEL:
        return Scope(caller(request).pk)
    collection = _collection_id(model)
    if collection is None or not Collection.objects.for_user(caller(request)).filter(id=collection).exists():
        raise Problem(404, "model_not_found", f"The model `{model}` does not exist or you do not have access to it.")
    return Scope(caller(request).pk, collections=(collection,))


def _collection_id(model: str) -> UUID | None:
    prefix, _, identifier = model.partition("/")
    try:
        return UUID(identifier) if prefix == LIBRARY_MODEL else None
    except ValueError:
        return None


def question_of(messages: Sequence[dict[str, str]], scope: Scope) -> Question:
    """The last message is the question, those before are the conversation, system messages are instructions."""
    given = [m["content"] for m in messages if m["role"] in ("system", "developer")]
    instructions = "\n\n".join(filter(None, [instructions_for(scope), *given]))
    turns = [Turn(m["role"], m["content"]) for m in messages if m["role"] in ("user", "assistant")]
    if not turns or turns[-1].role != "user" or not turns[-1].content.strip():
        raise exceptions.ValidationError({"messages": "The last message must be the user's, and not empty."})
    return Question(turns[-1].content, scope, tuple(turns[:-1]), instructions)


def begin(owner_id: int, question: Question) -> RunningAnswer:
    answer = RunningAnswer(new_id(), owner_id, stored=False)
    try:
        with producer.reserved() as slot:
            slot.produce(answer, question)
    except producer.TooBusy as error:
        raise Problem(503, "too_busy", "Too many answers are being written.", headers={"Retry-After": "2"}) from error
    return answer


def completion(answer: RunningAnswer, model: str, site: str) -> Answered:
    """The whole answer. Raises Problem."""
    last = last_event(answer.log)
    if last.name == events.ERROR:
        code = last.data["code"]
        raise Problem(STATUS_OF_FAILURE.get(code, 500), code, last.data["detail"])
    message = last.data["message"]
    content = {"role": "assistant", "content": message["content"], "annotations": annotations(message, site)}
    content["refusal"] = None
    choice = {"index": 0, "message": content, "finish_reason": message["finish_reason"], "logprobs": None}
    head = _head(answer.id, model, "chat.completion")
    return {**head, "choices": [choice], "usage": usage(message), "support": message["support"]}


def streamed(answer: RunningAnswer, model: str, site: str, include_usage: bool) -> Iterator[bytes]:
    """The answer as chunks. A client that goes away ends it, because nobody else can ever read it."""
    head = _head(answer.id, model, "chat.completion.chunk")
    try:
        yield _chunk(head, {"role": "assistant", "content": ""})
        for batch in follow_log(answer.log):
            yield b"".join(_chunks(head, batch, site, include_usage)) or events.HEARTBEAT
    finally:
        answer.stop.set(StopReason.STOPPED)
    yield END_OF_STREAM


def _chunks(head: Answered, batch: Sequence[Event], site: str, include_usage: bool) -> Iterator[bytes]:
    for event in batch:
        if event.name == events.TOKEN:
            yield _chunk(head, {"content": event.data["text"]})
        elif event.name == events.DONE:
            message = event.data["message"]
            yield _chunk(head, {"annotations": annotations(message, site)}, message["finish_reason"])
            if include_usage:
                yield _data({**head, "choices": [], "usage": usage(message)})
        elif event.name == events.ERROR:
            yield _data(error_body(500, event.data["code"], event.data["detail"]))


def task_response(reply: str, wanted: dict[str, Any]) -> HttpResponseBase:
    """What answers a wish of the chat program itself: nothing was searched for, no model was asked."""
    if wanted["stream"]:
        head = _head(new_id(), wanted["model"], "chat.completion.chunk")
        chunks = (_chunk(head, {"role": "assistant", "content": reply}), _chunk(head, {}, "stop"), END_OF_STREAM)
        return HttpResponse(b"".join(chunks), content_type=EVENT_STREAM)
    message: Answered = {"role": "assistant", "content": reply, "annotations": [], "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    head = _head(new_id(), wanted["model"], "chat.completion")
    return Response({**head, "choices": [choice], "usage": usage({"usage": None})})


def _head(identifier: UUID, model: str, kind: str) -> Answered:
    return {"id": f"chatcmpl-{identifier.hex}", "object": kind, "created": int(time.time()), "model": model}


def _chunk(head: Answered, delta: Answered, finish_reason: str | None = None) -> bytes:
    return _data({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}]})


def _data(body: Answered) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def annotations(message: Answered, site: str) -> list[Answered]:
    """Citations: where their marker stands in the text, as OpenAI has it, and where it points, as this site has it."""
    return [_annotation(message["content"], citation, site) for citation in message["citations"]]


def _annotation(content: str, citation: Answered, site: str) -> Answered:
    """Its address is that of the passage in the document's page: a click in the client opens it."""
    marker = f"[{citation['marker']}]"
    start = max(content.find(marker), 0)
    place = {"start_index": start, "end_index": start + len(marker)}
    page = {"page": citation["page"]} if citation["page"] else {}
    passage = urlencode({"start": citation["start"], "end": citation["end"], **page})
    url = f"{site.rstrip('/')}{reverse('library-document', args=[citation['document']])}?{passage}"
    return {
        "type": "url_citation",
        "url_citation": {
            "url": url,
            "title": ", ".join(filter(None, [citation["filename"], citation["place"]])),
            **place,
        },
        "citation": citation,
    }


def usage(message: Answered) -> Answered:
    counted = message["usage"] or {"prompt_tokens": 0, "completion_tokens": 0}
    return {**counted, "total_tokens": counted["prompt_tokens"] + counted["completion_tokens"]}
