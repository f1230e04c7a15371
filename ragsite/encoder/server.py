"""OpenAI's embeddings API over one model, and counting of tokens."""

import asyncio
import base64
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ragsite.encoder.model import EmbeddingModel, Vector
from ragsite.encoder.models import InputType
from ragsite.encoder.scheduler import Job, Scheduler

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_INPUTS = 2048
"""OpenAI's own limit."""
MOST_WAITING: dict[InputType, int] = {"query": 16_384, "passage": 4096}
"""Texts in a lane, beyond which requests are refused: what waits longer than its client does is computed for nobody."""
OWNER = "ragsite"
"""By this the client knows that it speaks to this server, which puts the prefixes before the texts itself."""

NORMAL_URGENCY = 3

Embedded = tuple[Vector, int]


class ApiError(Exception):
    """A refusal in OpenAI's format."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code


@dataclass(frozen=True)
class EmbeddingRequest:
    """A checked request for embeddings."""

    texts: list[str]
    input_type: InputType
    as_base64: bool
    urgent: bool


class Api:
    """The endpoints."""

    def __init__(self, model: EmbeddingModel, scheduler: Scheduler[Embedded]) -> None:
        self._model = model
        self._scheduler = scheduler

    async def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings, with ``input_type`` ("query" or "passage") and ``urgent`` as extensions.

        Who cannot send these says the same by the header ``Priority: u=0`` (to 2).
        """
        asked = _embedding_request(await _json_object(request), self._model.spec.name, self._model.spec.dimensions)
        asked = replace(asked, urgent=asked.urgent or _is_urgent(request.headers.get("priority", "")))
        distinct = list(dict.fromkeys(asked.texts))
        results = await self._computed(request, distinct, asked)
        by_text = dict(zip(distinct, results, strict=True))
        embedded = [by_text[text] for text in asked.texts]
        return Response(await self._rendered(embedded, asked.as_base64), media_type="application/json")

    async def _rendered(self, embedded: list[Embedded], as_base64: bool) -> bytes:
        """In a thread where it is more than a query's: numbers as JSON may take longer than the event loop can wait."""
        name = self._model.spec.name
        if len(embedded) == 1:
            return _rendered_response(name, embedded, as_base64)
        return await asyncio.to_thread(_rendered_response, name, embedded, as_base64)

    async def _computed(self, request: Request, texts: list[str], asked: EmbeddingRequest) -> list[Embedded]:
        """The embeddings of all texts; the work is dropped when the client goes."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        on_end = partial(loop.call_soon_threadsafe, ended.set)
        job: Job[Embedded] = Job(texts, asked.input_type, on_end, asked.urgent)
        if self._scheduler.waiting()[job.lane] > MOST_WAITING[job.lane]:
            raise ApiError(429, "Too many texts wait here; ask again in a second.", code="rate_limit_exceeded")
        self._scheduler.submit(job)
        waiters = [asyncio.ensure_future(ended.wait()), asyncio.ensure_future(_disconnected(request))]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        if not ended.is_set():
            self._scheduler.cancel(job)
            raise ApiError(499, "The client went away.")
        if job.error is not None:
            raise job.error
        return job.results

    async def tokenize(self, request: Request) -> Response:
        """POST /tokenize: ``{"input": [texts]}`` → ``{"counts": [tokens, …]}``."""
        texts = _texts(await _json_object(request))
        counts = await asyncio.to_thread(lambda: [self._model.tokenizer.count(text) for text in texts])
        return JSONResponse({"counts": counts})

    async def models(self, request: Request) -> Response:
        """GET /v1/models: the one model."""
        model = {"id": self._model.spec.name, "object": "model", "created": 0, "owned_by": OWNER}
        return JSONResponse({"object": "list", "data": [model]})

    async def health(self, request: Request) -> Response:
        """GET /healthz: it answers, and how many texts wait."""
        waiting = self._scheduler.waiting()
        return JSONResponse({"status": "ok", "model": self._model.spec.name, "waiting": waiting})


class BearerKey:
    """Middleware: all but /healthz needs the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/healthz" or self._is_allowed(scope):
            await self._app(scope, receive, send)
        else:
            error = ApiError(401, "The API key is missing or wrong.", code="invalid_api_key")
            await _error_response(error)(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._expected)


def create_app(model: EmbeddingModel, threads: int, api_key: str = "") -> Starlette:
    """The application with its threads running; without a key it is for a Unix socket, whose mode guards it."""
    scheduler: Scheduler[Embedded] = Scheduler(model.embed, threads)
    scheduler.start()
    api = Api(model, scheduler)
    routes = [
        Route("/v1/embeddings", api.embeddings, methods=["POST"]),
        Route("/tokenize", api.tokenize, methods=["POST"]),
        Route("/v1/tokenize", api.tokenize, methods=["POST"]),
        Route("/v1/models", api.models),
        Route("/healthz", api.health),
    ]
    middleware = [Middleware(BearerKey, key=api_key)] if api_key else []
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        ApiError: _on_api_error,
        HTTPException: _on_http_error,
        Exception: _on_server_error,
    }
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


def _error_response(error: ApiError) -> JSONResponse:
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    body = {"message": str(error), "type": kind, "param": error.param, "code": error.code}
    headers = {"Retry-After": "1"} if error.status == 429 else None
    return JSONResponse({"error": body}, status_code=error.status, headers=headers)


async def _on_api_error(request: Request, error: Exception) -> Response:
    return _error_response(cast(ApiError, error))


async def _on_http_error(request: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)
    return _error_response(ApiError(refusal.status_code, f"{request.method} {request.url.path}: {refusal.detail}"))


async def _on_server_error(request: Request, error: Exception) -> Response:
    return _error_response(ApiError(500, "The encoder failed; its log says why."))


def _is_urgent(priority: str) -> bool:
    """Whether the header says so (RFC 9218: the urgency ``u`` is 0 to 7, and 3 where nothing is said)."""
    urgency = re.search(r"(?:^|[,;\s])u=([0-7])(?![0-9.])", priority)
    return urgency is not None and int(urgency[1]) < NORMAL_URGENCY


async def _disconnected(request: Request) -> None:
    """Returns when the client has gone. The body has been read: all that can still come is the end."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _json_object(request: Request) -> dict[str, Any]:
    body = await _body(request)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ApiError(400, "The body must be a JSON object.")
    return content


async def _body(request: Request) -> bytes:
    too_large = ApiError(413, f"The body is larger than {MAX_BODY_BYTES} bytes: send fewer texts at once.")
    if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def _texts(content: dict[str, Any]) -> list[str]:
    given = content.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ApiError(400, "input must be a string or a list of at least one string.", "input")
    if len(texts) > MAX_INPUTS:
        raise ApiError(400, f"input has {len(texts)} texts; at most {MAX_INPUTS} are allowed.", "input")
    return texts


def _embedding_request(content: dict[str, Any], model: str, dimensions: int) -> EmbeddingRequest:
    asked = content.get("model", model)
    if asked != model:
        raise ApiError(404, f"The model {asked!r} is not served here; {model!r} is.", "model", "model_not_found")
    if content.get("dimensions", dimensions) != dimensions:
        raise ApiError(400, f"The model {model!r} has {dimensions} dimensions.", "dimensions")
    encoding = _one_of(content, "encoding_format", ("float", "base64"))
    input_type = _one_of(content, "input_type", ("passage", "query"))
    urgent = content.get("urgent", False)
    if not isinstance(urgent, bool):
        raise ApiError(400, "urgent must be true or false.", "urgent")
    return EmbeddingRequest(_texts(content), cast(InputType, input_type), encoding == "base64", urgent)


def _one_of(content: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    """A field's value, the first that is allowed when there is none."""
    value = content.get(name) or allowed[0]
    if value not in allowed:
        raise ApiError(400, f"{name} must be {' or '.join(allowed)}.", name)
    return str(value)


def _rendered_response(model: str, embedded: list[Embedded], as_base64: bool) -> bytes:
    """Put together vector by vector, so that the interpreter can change threads in between."""
    render = _base64_json if as_base64 else _float_json
    items = ",".join(
        f'{{"object":"embedding","index":{index},"embedding":{render(vector)}}}'
        for index, (vector, _tokens) in enumerate(embedded)
    )
    tokens = sum(count for _vector, count in embedded)
    usage = f'{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}'
    return f'{{"object":"list","data":[{items}],"model":{json.dumps(model)},"usage":{usage}}}'.encode()


def _base64_json(vector: Vector) -> str:
    return f'"{base64.b64encode(vector.astype("<f4").tobytes()).decode()}"'


def _float_json(vector: Vector) -> str:
    return json.dumps(vector.tolist())
