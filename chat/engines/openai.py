"""The engine that lets a language model write: any server that speaks OpenAI's chat completions."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpcore
from django.conf import settings

from chat.answers.writer import Writer
from chat.engines.base import EngineError, Request
from chat.engines.markers import MarkerReader
from chat.engines.phrases import nothing_found
from chat.engines.prompt import Prompt, build_prompt, count_tokens
from chat.engines.upstream import Watch, pool, watched

CONNECT_SECONDS = 5.0
LONGEST_ERROR = 1 << 16
_CONTEXT_TOO_LONG = re.compile(
    r"context.{0,40}(length|size|window|exceed)|exceed.{0,40}context|too many tokens", re.I | re.S
)
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError)


class OpenAIEngine:
    """Streams what the model writes; its markers become citations."""

    name = "openai"
    passages_wanted = 8

    def __init__(self, base_url: str, model: str, api_key: str) -> None:
        self.model = model
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._headers: dict[bytes | str, bytes | str] = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
        }
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def answer(self, request: Request, writer: Writer) -> None:
        if not request.passages and not request.history and not request.instructions:
            writer.write(nothing_found(request.question))
            return
        prompt = build_prompt(request)
        reply = Reply(MarkerReader(prompt.passages, writer), writer)
        with watched(Watch(stop=writer.stop, idle=reply.show)):
            self._converse(prompt, reply)
        reply.show()
        self._count(prompt, reply, writer)

    def _converse(self, prompt: Prompt, reply: "Reply") -> None:
        body = json.dumps(self._body(prompt)).encode()
        with ExitStack() as stack:
            response = self._open(stack, body)
            try:
                for data in server_sent_data(response.iter_stream()):
                    reply.take(data)
            except httpcore.TimeoutException as error:
                raise EngineError("model_timeout", f"The model fell silent for {_patience()}.") from error
            except _BROKEN as error:
                raise _broke_off() from error
        if not reply.is_complete:
            raise _broke_off()

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": prompt.messages,
            "max_tokens": settings.LLM_MAX_TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _open(self, stack: ExitStack, body: bytes) -> httpcore.Response:
        """The response whose body is the answer. Tried twice, as a kept connection may have been closed meanwhile."""
        try:
            try:
                response = self._request(stack, body)
            except _BROKEN:
                response = self._request(stack, body)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise EngineError(
                "model_unreachable", f"The model's server {self._url} cannot be reached: {error}"
            ) from error
        except httpcore.TimeoutException as error:
            raise EngineError("model_timeout", f"The model did not begin to answer within {_patience()}.") from error
        except (*_BROKEN, httpcore.UnsupportedProtocol) as error:
            raise EngineError(
                "model_unreachable", f"The model's server {self._url} does not speak HTTP: {error}"
            ) from error
        if response.status != 200:
            raise refusal(response)
        return response

    def _request(self, stack: ExitStack, body: bytes) -> httpcore.Response:
        patience = settings.LLM_TIMEOUT_SECONDS
        timeout = {"connect": CONNECT_SECONDS, "read": patience, "write": patience, "pool": CONNECT_SECONDS}
        request = pool().stream("POST", self._url, headers=self._headers, content=body, extensions={"timeout": timeout})
        return stack.enter_context(request)

    def _count(self, prompt: Prompt, reply: "Reply", writer: Writer) -> None:
        """The server's figures, or, where it gives none, ours."""
        usage = reply.usage or {}
        counted = usage.get("completion_tokens")
        completion = counted if isinstance(counted, int) else count_tokens([reply.text])[0]
        given = usage.get("prompt_tokens")
        writer.count_tokens(given if isinstance(given, int) else prompt.tokens, completion)


class Reply:
    """What the model's server has sent so far."""

    def __init__(self, markers: MarkerReader, writer: Writer) -> None:
        self.text = ""
        self.usage: dict[str, Any] | None = None
        self.is_complete = False
        self._markers = markers
        self._writer = writer
        self._shown = 0

    def take(self, data: bytes) -> None:
        """One event of the stream. Raises EngineError when it tells of an error."""
        if data == b"[DONE]":
            self.is_complete = True
            return
        chunk = _parsed(data)
        if "error" in chunk:
            raise _rejected(_message_of(chunk))
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices") or []:
            part = choice.get("delta") or choice.get("message") or {}
            self._write(part.get("content"))
            if choice.get("finish_reason"):
                self.is_complete = True

    def _write(self, text: Any) -> None:
        if isinstance(text, str) and text:
            self.text += text
            self._writer.write(text)

    def show(self) -> None:
        """Let readers see what has arrived, then what it cites."""
        new, self._shown = self.text[self._shown :], len(self.text)
        if new:
            self._writer.flush()
            self._markers.feed(new)


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


def refusal(response: httpcore.Response) -> EngineError:
    """What the server said instead of answering."""
    body = b""
    try:
        for piece in response.iter_stream():
            body += piece
            if len(body) > LONGEST_ERROR:
                break
    except (httpcore.TimeoutException, *_BROKEN):
        pass
    try:
        said = _message_of(json.loads(body))
    except ValueError:
        said = body[:300].decode(errors="replace")
    return _rejected(f"{response.status}: {said}")


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


def _broke_off() -> EngineError:
    return EngineError("model_unreachable", "The model's server broke off in the middle of the answer.")


def _patience() -> str:
    return f"{settings.LLM_TIMEOUT_SECONDS:g} s"
