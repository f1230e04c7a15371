"""The engine that lets a language model write: any server that speaks OpenAI's chat completions."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.conf import settings

from chat.answers.measuring import ModelCall, model_call
from chat.answers.writer import LONGEST_ANSWER, AnswerTooLong, Writer
from chat.engines.base import EngineError, Request
from chat.engines.markers import MarkerReader
from chat.engines.phrases import nothing_found
from chat.engines.prompt import MARGIN, Prompt, Room, build_prompt, count_tokens, tokens_at_most
from chat.engines.reading import KeptVectors, Reading
from chat.engines.server import context_tokens
from chat.engines.support import assess
from chat.engines.upstream import Watch, connections, watched
from ragsite.http_connections import (
    Broken,
    HttpError,
    InvalidRequest,
    Patience,
    Response,
    TooSlow,
    Unreachable,
    origin_and_target,
)
from ragsite.language_models import LanguageModel
from ragsite.metrics import record

CONNECT_SECONDS = 5.0
LONGEST_ERROR = 1 << 16
PAUSES = (0.25, 1.0)
"""Seconds before another try, where the server is not there, busy or still loading; never after the first token."""
BUSY = frozenset({429, 502, 503, 504})
SHARE_OF_ANSWERS = 0.75
"""Of the answers that this process writes at once, so many may wait for one model: the rest is left for others."""
HIGHEST_MARGIN = 4.0
_CONTEXT_TOO_LONG = re.compile(
    r"context.{0,40}(length|size|window|exceed)|exceed.{0,40}context|too many tokens", re.I | re.S
)


class Transient(EngineError):
    """Worth another try, as long as nothing of the answer has come."""


class OpenAIEngine:
    """Streams what the model writes; its markers become citations, its claims are compared with their passages."""

    name = "openai"
    passages_wanted = 8

    def __init__(self, configured: LanguageModel) -> None:
        self.model = configured.model
        self._configured = configured
        self._url = configured.base_url.rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if configured.api_key:
            self._headers["Authorization"] = f"Bearer {configured.api_key}"
        self._dialect = Dialect()
        self._margin = MARGIN
        self._free = threading.BoundedSemaphore(max(1, int(settings.ANSWERS_AT_ONCE * SHARE_OF_ANSWERS)))

    def answer(self, request: Request, writer: Writer) -> None:
        if not request.passages and not request.history and not request.instructions:
            writer.write(nothing_found(request.question))
            return
        with self._place():
            self._answer(request, writer)

    def complete(self, messages: list[dict[str, str]], writer: Writer) -> None:
        """Write what the model says to these messages alone. Raises EngineError."""
        texts = [message["content"] for message in messages]
        prompt = Prompt(messages, {}, sum(tokens_at_most(text, self._margin) for text in texts))
        reply = Reply(MarkerReader({}, writer, Reading()), writer)
        with self._place():
            try:
                with watched(writer.stop, reply.show) as watch:
                    self._converse(prompt, reply, writer, watch)
            finally:
                reply.end()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._free.acquire(blocking=False):
            raise EngineError("too_busy", "The language model is writing as many answers as it may; try again shortly.")
        try:
            yield
        finally:
            self._free.release()

    def _answer(self, request: Request, writer: Writer) -> None:
        size = context_tokens(self._configured) - self._configured.max_tokens
        try:
            self._write(build_prompt(request, Room(size, self._margin)), request, writer)
        except EngineError as error:
            if error.code != "context_too_long" or writer.text:
                raise
            self._write(build_prompt(request, Room(size // 2, self._margin)), request, writer)

    def _write(self, prompt: Prompt, request: Request, writer: Writer) -> None:
        reading = Reading(KeptVectors(writer.owner_id, list(prompt.passages.values())))
        markers = MarkerReader(prompt.passages, writer, reading)
        reply = Reply(markers, writer)
        try:
            with watched(writer.stop, reply.show) as watch:
                self._converse(prompt, reply, writer, watch)
        finally:
            reply.end()
        self._count(prompt, reply, writer)
        writer.support(assess(writer.text, markers.sources, list(prompt.passages.values()), reading))

    def _converse(self, prompt: Prompt, reply: "Reply", writer: Writer, watch: Watch) -> None:
        """Ask until something comes."""
        with model_call(self.model, writer) as reply.call:
            for pause in (*PAUSES, None):
                try:
                    return self._ask(prompt, reply, watch)
                except Transient:
                    if pause is None or reply.text:
                        raise
                    writer.stop.wait(pause)

    def _ask(self, prompt: Prompt, reply: "Reply", watch: Watch) -> None:
        with ExitStack() as stack:
            response = self._open(stack, prompt, watch)
            try:
                for data in server_sent_data(iter(response)):
                    reply.take(data)
            except TooSlow as error:
                raise EngineError("model_timeout", f"The model fell silent for {_patience()}.") from error
            except Broken as error:
                raise _broke_off() from error
        if not reply.is_complete:
            raise _broke_off()

    def _body(self, prompt: Prompt) -> bytes:
        parameters = self._dialect.parameters(self._configured.max_tokens)
        return json.dumps({"model": self.model, "messages": prompt.messages, "stream": True, **parameters}).encode()

    def _open(self, stack: ExitStack, prompt: Prompt, watch: Watch) -> Response:
        """The response whose body is the answer; asked again in other words where the server speaks a dialect."""
        while True:
            response = self._sent(stack, self._body(prompt), watch)
            if response.status == 200:
                return response
            error = refusal(response)
            if response.status not in (400, 422) or not self._dialect.learn(error.detail):
                raise error

    def _sent(self, stack: ExitStack, body: bytes, watch: Watch) -> Response:
        """The response to one request."""
        try:
            return self._request(stack, body, watch)
        except Unreachable as error:
            raise Transient(
                "model_unreachable", f"The model's server {self._url} cannot be reached: {error}"
            ) from error
        except TooSlow as error:
            raise EngineError("model_timeout", f"The model did not begin to answer within {_patience()}.") from error
        except (Broken, InvalidRequest) as error:
            raise EngineError(
                "model_unreachable", f"The model's server {self._url} does not speak HTTP: {error}"
            ) from error

    def _request(self, stack: ExitStack, body: bytes, watch: Watch) -> Response:
        origin, target = origin_and_target(self._url)
        patience = Patience(connect=CONNECT_SECONDS, read=settings.LLM_TIMEOUT_SECONDS)
        exchange = connections(origin).exchange("POST", target, self._headers, body, patience, watch.receive)
        return stack.enter_context(exchange)

    def _count(self, prompt: Prompt, reply: "Reply", writer: Writer) -> None:
        """The server's figures, or, where it gives none, ours; its own teach how many of its tokens one of ours is."""
        usage = reply.usage or {}
        counted = usage.get("completion_tokens")
        completion = counted if isinstance(counted, int) else count_tokens([reply.text])[0]
        given = usage.get("prompt_tokens")
        if isinstance(given, int) and given > prompt.tokens:
            self._margin = min(HIGHEST_MARGIN, self._margin * given / prompt.tokens)
        prompted = given if isinstance(given, int) else sum(count_tokens(prompt.texts))
        record.model_tokens(self.model, prompted, completion)
        writer.count_tokens(prompted, completion)


class Dialect:
    """What a server understands of the optional parameters, learned from its refusals."""

    def __init__(self) -> None:
        self._limit = "max_tokens"
        self._with_usage = True

    def parameters(self, max_tokens: int) -> dict[str, Any]:
        usage = {"stream_options": {"include_usage": True}} if self._with_usage else {}
        return {self._limit: max_tokens, **usage}

    def learn(self, refused: str) -> bool:
        """Whether another way of asking is left. OpenAI's newer models call the limit by another name."""
        if "max_completion_tokens" in refused and self._limit == "max_tokens":
            self._limit = "max_completion_tokens"
            return True
        if "stream_options" in refused and self._with_usage:
            self._with_usage = False
            return True
        return False


class Reply:
    """What the model's server has sent so far."""

    def __init__(self, markers: MarkerReader, writer: Writer) -> None:
        self.text = ""
        self.usage: dict[str, Any] | None = None
        self.is_complete = False
        self.call = ModelCall()
        self._markers = markers
        self._writer = writer
        self._shown = 0

    def take(self, data: bytes) -> None:
        """One event of the stream. Raises EngineError when it tells of an error.

        Only text is taken: what else a model may ask for (tools, functions, its thoughts) goes nowhere.
        """
        if data == b"[DONE]":
            self.is_complete = True
            return
        chunk = _parsed(data)
        if "error" in chunk:
            raise _rejected(_message_of(chunk))
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices") or []:
            part = choice.get("delta") or choice.get("message") or {}
            text = part.get("content")
            if isinstance(text, str) and text:
                self.call.token_came()
                self.text += text
            if choice.get("finish_reason"):
                self.is_complete = True
                self._writer.finish_reason = str(choice["finish_reason"])
        if len(self.text) > LONGEST_ANSWER:
            raise AnswerTooLong

    def show(self) -> None:
        """Let readers see what has arrived, and what it cites."""
        new, self._shown = self.text[self._shown :], len(self.text)
        if new:
            with self._writer.together():
                self._markers.feed(new)
                self._writer.flush()

    def end(self) -> None:
        """Show all, also of an answer that broke off; of one that was stopped, what was shown is enough."""
        if not self._writer.stop.is_set():
            self.show()
            self._markers.finish()
            self._writer.flush()


def server_sent_data(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The data of Server-Sent Events; a body that is one JSON object (a server that cannot stream) is one of them."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
            elif line.startswith(b"{"):
                yield line
    if rest.startswith(b"{"):
        yield rest


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise _rejected("it sent what is not JSON") from error
    if not isinstance(chunk, dict):
        raise _rejected("it sent JSON that is not an object")
    return chunk


def refusal(response: Response) -> EngineError:
    """What the server said instead of answering."""
    try:
        body = response.read(LONGEST_ERROR)
    except HttpError:
        body = b""
    try:
        said = _message_of(json.loads(body))
    except ValueError:
        said = body[:300].decode(errors="replace")
    error = _rejected(f"{response.status}: {said}")
    return Transient(error.code, error.detail) if response.status in BUSY else error


def _message_of(body: Any) -> str:
    """OpenAI nests the message, others do not."""
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:500]


def _rejected(said: str) -> EngineError:
    if _CONTEXT_TOO_LONG.search(said):
        return EngineError(
            "context_too_long", f"Question and passages are too long for the model ({said}); set LLM_CONTEXT_TOKENS."
        )
    return EngineError("model_rejected", f"The model's server refused: {said}")


def _broke_off() -> Transient:
    return Transient("model_unreachable", "The model's server broke off in the middle of the answer.")


def _patience() -> str:
    return f"{settings.LLM_TIMEOUT_SECONDS:g} s"
