"""Trying a language model out, step by step, until one fails: what is wrong, and what to do."""

import difflib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from chat.engines import server
from chat.engines.openai import Dialect
from ragsite.language_models import LanguageModel

LISTED = 30
SILENT = 0.7
"""A server that counts less than this share of what it was sent has cut it."""
FILLER = "The quick brown fox jumps over the lazy dog. "
TOKENS_OF_FILLER = 10


@dataclass(frozen=True)
class Finding:
    """What came of one step; ``ok`` None: worth knowing, not wrong."""

    step: str
    ok: bool | None
    detail: str
    advice: str = ""


class Wrong(Exception):
    """A step that failed; those after it make no sense."""

    def __init__(self, detail: str, advice: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.advice = advice


def diagnosed(model: LanguageModel, fill_context: bool = False) -> Iterator[Finding]:
    """The findings as they come; the last one is of the step that failed, or of the last step."""
    steps = [("address", _address), ("key and models", _models), ("answer", _answer), ("context", _context)]
    if fill_context:
        steps.append(("whole context", _whole_context))
    for name, step in steps:
        try:
            yield from (Finding(name, *said) for said in step(model))
        except Wrong as wrong:
            yield Finding(name, False, wrong.detail, wrong.advice)
            return


def offered_names(model: LanguageModel) -> list[str]:
    """The names of the server's models. Raises Wrong."""
    with server.client(model, settings.LLM_TIMEOUT_SECONDS) as asking:
        try:
            return [entry["id"] for entry in server.listed_models(asking, model.base_url)]
        except httpx.HTTPStatusError as error:
            raise _refused(error.response, model) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(model, error) from error
        except ValueError as error:
            raise Wrong("What it says is not OpenAI's list of models.", _address_advice(model)) from error


Said = Iterator[tuple[bool | None, str]]


def _address(model: LanguageModel) -> Said:
    parts = urlsplit(model.base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Wrong(f"{model.base_url!r} is no address.", "It looks like http://localhost:11434/v1.")
    with server.client(model) as asking:
        try:
            response = asking.get(model.base_url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(model, error) from error
    if response.is_redirect:
        raise Wrong(
            f"It sends us on to {response.headers.get('location', 'another address')}.", "Set that address, with /v1."
        )
    yield True, f"A server answers at {model.base_url}."


def _models(model: LanguageModel) -> Said:
    try:
        names = offered_names(model)
    except Wrong as wrong:
        if "401" in wrong.detail or "403" in wrong.detail or not model.model:
            raise
        yield None, f"It does not list its models ({wrong.detail})"
        return
    listed = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
    if not model.model:
        raise Wrong("No model is named.", f"Name one of: {listed}.")
    if model.model in names or f"{model.model}:latest" in names:
        yield True, f"The key is taken, and {model.model} is one of {len(names)} models."
        return
    near = difflib.get_close_matches(model.model, names, 1, 0.4)
    meant = f" Did you mean {near[0]}?" if near else ""
    yield None, f"{model.model} is not among its models: {listed}.{meant}"


def _answer(model: LanguageModel) -> Said:
    started = time.monotonic()
    first, text, usage = None, "", None
    for chunk in _streamed(model, "Reply with the single word: ready", 64):
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or []:
            said = (choice.get("delta") or choice.get("message") or {}).get("content")
            if said:
                first = first or time.monotonic() - started
                text += said
    if first is None:
        advice = "A model that thinks first may need a higher LLM_MAX_TOKENS."
        raise Wrong("It answered without a word.", advice)
    yield True, f"The first word came after {first:.1f} s: {text.strip()[:80]!r}."
    if not usage:
        yield None, "It does not count tokens; the site estimates them."


def _context(model: LanguageModel) -> Said:
    said = server.asked_context(model)
    if said and model.context_tokens > said:
        advice = f"Set LLM_CONTEXT_TOKENS={said}, or start the server with more."
        raise Wrong(f"The settings say {model.context_tokens} tokens, the server {said}.", advice)
    used = model.context_tokens or said or server.ASSUMED_CONTEXT
    source = "the settings" if model.context_tokens else "the server" if said else "an assumption"
    if used <= model.max_tokens:
        raise Wrong(f"{used} tokens do not hold an answer of {model.max_tokens}.", "Set a lower LLM_MAX_TOKENS.")
    yield (True if said else None), f"{used} tokens, by {source}; {used - model.max_tokens} of them for the prompt."


def _whole_context(model: LanguageModel) -> Said:
    """A prompt as long as one may get: is it refused, or cut in silence?"""
    wanted = int((server.context_tokens(model) - model.max_tokens) * 0.9)
    filler = FILLER * (wanted // TOKENS_OF_FILLER)
    chunks = list(_streamed(model, f"{filler}\nReply with the single word: ready", 8))
    counted = next((chunk["usage"]["prompt_tokens"] for chunk in reversed(chunks) if chunk.get("usage")), None)
    if counted is None:
        yield None, "It took the prompt, but does not count tokens: whether it was cut cannot be told."
    elif counted < wanted * SILENT:
        advice = "Raise the server's context (Ollama: OLLAMA_CONTEXT_LENGTH), or set LLM_CONTEXT_TOKENS to what it is."
        raise Wrong(f"Of about {wanted} tokens it read {counted}: it cuts long prompts without saying so.", advice)
    else:
        yield True, f"It read a prompt of {counted} tokens."


def _streamed(model: LanguageModel, content: str, most: int) -> Iterator[dict[str, Any]]:
    """The chunks of a short answer. Raises Wrong."""
    dialect = Dialect()
    url = f"{model.base_url.rstrip('/')}/chat/completions"
    while True:
        message = {"role": "user", "content": content}
        body = {"model": model.model, "messages": [message], "stream": True, **dialect.parameters(most)}
        with server.client(model, settings.LLM_TIMEOUT_SECONDS) as asking:
            try:
                with asking.stream("POST", url, json=body) as response:
                    if response.status_code == httpx.codes.OK:
                        yield from _chunks(response)
                        return
                    response.read()
                    if response.status_code not in (400, 422) or not dialect.learn(response.text):
                        raise _refused(response, model)
            except httpx.TimeoutException as error:
                patience = f"{settings.LLM_TIMEOUT_SECONDS:g} s"
                raise Wrong(f"It was silent for {patience}.", "Is it loading? Raise LLM_TIMEOUT_SECONDS.") from error
            except httpx.HTTPError as error:
                raise _unreachable(model, error) from error


def _chunks(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        data = line.removeprefix("data:").strip()
        if data.startswith("{"):
            try:
                chunk = json.loads(data)
            except ValueError as error:
                raise Wrong("It sends what is not JSON.", "Is this an OpenAI-compatible server?") from error
            if "error" in chunk:
                raise Wrong(f"It broke off: {str(chunk['error'])[:300]}")
            yield chunk


def _unreachable(model: LanguageModel, error: Exception) -> Wrong:
    host = urlsplit(model.base_url).netloc
    if isinstance(error, httpx.ConnectTimeout | httpx.ReadTimeout):
        return Wrong(f"{host} does not answer.", "Is the machine on, and does a firewall let us through?")
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return Wrong(f"What listens at {host} does not speak HTTP: {error}", "Check the port, and http or https.")
    if "CERTIFICATE" in str(error) or "SSL" in str(error):
        return Wrong(f"No secure connection to {host}: {error}", "Check http or https, and the server's certificate.")
    advice = "Is the server running, and is this its name and port? In a container, localhost is the container itself."
    return Wrong(f"{host} cannot be reached: {error}", advice)


def _refused(response: httpx.Response, model: LanguageModel) -> Wrong:
    said = f"{response.status_code}: {response.text[:300].strip()}"
    if response.status_code in (401, 403):
        key = "is not the one it wants" if model.api_key else "is missing"
        return Wrong(f"It refuses the key ({said}).", f"LLM_API_KEY {key}.")
    if response.status_code == httpx.codes.NOT_FOUND:
        return Wrong(f"There is nothing ({said}).", _address_advice(model))
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return Wrong(f"It is asked too often, or the account is empty ({said}).")
    return Wrong(f"It refuses ({said}).", "Its words should tell why.")


def _address_advice(model: LanguageModel) -> str:
    """Most often the version is missing."""
    address = model.base_url.rstrip("/")
    if not address.endswith("/v1"):
        return f"Is it {address}/v1?"
    return "Check the model's name, and that the server is OpenAI-compatible."
