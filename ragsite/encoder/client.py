"""Asks an embedding model: the machine's own encoder, or any endpoint that speaks OpenAI's embeddings API."""

import base64
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from http.client import responses
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from ragsite import http_connections
from ragsite.encoder.models import E5_PREFIXES, MODELS, InputType
from ragsite.http_connections import Connections, HttpError, TooSlow

Vectors = NDArray[np.float32]

OWN_SERVER = "ragsite"
"""What our own server says in ``owned_by``."""
LISTS_NO_MODELS = {403, 404, 405}
"""How endpoints answer that have no list of models, or keep it from a key that may only embed. Ours always has one, and
says 401 to a key that it does not know."""
LARGEST_REQUEST = 64
"""Texts in a request: a second's work or two, so that progress shows and little is lost with a connection."""
LARGEST_COUNT_REQUEST = 1000
LARGEST_REQUEST_CHARACTERS = 2_000_000
"""At most 12 MB of JSON; our server takes 16."""
MOST_SENTENCES = 64
"""In a request on which an answer waits."""
CONNECTIONS = 64
IDLE_SECONDS = 60
CONNECT_SECONDS = 5.0
QUERY_SECONDS = 10.0
"""Someone waits for a query's answer; what takes longer is better told."""

CJK = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
TOKENS_PER_CJK_CHARACTER = 0.7
CHARACTERS_PER_TOKEN = 4


class EncoderUnavailable(Exception):
    """The endpoint does not answer now; the same request may succeed later."""


class EncoderRejected(Exception):
    """The endpoint refuses the request, or answers what cannot be used; asking again does not help."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP, where it refused."""


@dataclass(frozen=True)
class Patience:
    """How long to try again while the endpoint is away."""

    seconds: float
    first_pause: float = 0.1
    longest_pause: float = 2.0


QUERY_PATIENCE = Patience(seconds=1.0)
PASSAGE_PATIENCE = Patience(seconds=12.0)
"""The supervisor restarts a crashed encoder in one or two seconds, and it is ready one second later."""


class EncoderClient:
    """One endpoint and one of its models. May be shared by threads and survives a fork.

    All calls raise EncoderUnavailable and EncoderRejected, with messages that say what to do.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str = "",
        socket: Path | None = None,
        timeout: float = 60.0,
        local: bool | None = None,
    ) -> None:
        """``base_url`` ends in /v1, as OpenAI's does; with ``socket`` its host does not matter.

        ``local`` tells whether it is our own server, which puts e5's prefixes before the texts, puts queries first and
        counts tokens. With a socket it is; otherwise the endpoint is asked once, when it is first needed.
        """
        self.model = model
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._socket = socket
        self._timeout = timeout
        self._kept = Connections("http://encoder", socket, CONNECTIONS, IDLE_SECONDS) if socket else None
        self._connections: tuple[int, httpx.Client] | None = None
        if local is not None or socket is not None:
            self.local = True if local is None else local

    @cached_property
    def local(self) -> bool:
        """Whether the endpoint is our own server."""
        try:
            listed = self._call("GET", "/models", None, QUERY_PATIENCE).get("data")
        except EncoderRejected as error:
            if error.status in LISTS_NO_MODELS:
                return False
            raise  # and is asked again: what is remembered decides what vectors are made of
        if not isinstance(listed, list):
            raise EncoderRejected(f"{self._name} does not list its models as OpenAI's API does.")
        return any(isinstance(entry, dict) and entry.get("owned_by") == OWN_SERVER for entry in listed)

    @cached_property
    def dimensions(self) -> int:
        """The length of this model's vectors."""
        known = MODELS.get(self.model)
        return known.dimensions if known else len(self.embed_query("dimensions"))

    def embed_query(self, text: str) -> Vectors:
        """The vector of a question: (dimensions,), of length 1."""
        vector: Vectors = self._embed([_encodable(text)], "query", QUERY_PATIENCE)[0]
        return vector

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts that are to be found: (texts, dimensions), each of length 1."""
        batches = list(self.iter_passages(texts, LARGEST_REQUEST))
        return np.concatenate(batches) if batches else np.empty((0, self.dimensions), np.float32)

    def embed_sentences(self, texts: Sequence[str]) -> Vectors:
        """The same for few texts on which an answer waits: they go before the passages of documents."""
        batches = [
            self._embed(batch, "passage", QUERY_PATIENCE, urgent=True) for batch in _batches(texts, MOST_SENTENCES)
        ]
        return np.concatenate(batches) if batches else np.empty((0, self.dimensions), np.float32)

    def iter_passages(self, texts: Sequence[str], batch_size: int = 16) -> Iterator[Vectors]:
        """The same batch by batch, each as soon as it is there."""
        for batch in _batches(texts, min(batch_size, LARGEST_REQUEST)):
            yield self._embed(batch, "passage", PASSAGE_PATIENCE)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text as the model counts them; estimated where the endpoint does not count."""
        counts: list[int] = []
        for batch in _batches(texts, LARGEST_COUNT_REQUEST):
            counts += self._count(batch)
        return counts

    def _count(self, texts: list[str]) -> list[int]:
        if not self.local:
            return [estimated_tokens(text) for text in texts]
        answer = self._call("POST", "/tokenize", {"input": texts}, PASSAGE_PATIENCE)
        return [int(count) for count in answer["counts"]]

    def _embed(self, texts: list[str], input_type: InputType, patience: Patience, urgent: bool = False) -> Vectors:
        body = self._request_body(texts, input_type)
        if urgent and self.local:
            body["urgent"] = True
        answer = self._call("POST", "/embeddings", body, patience)
        return _vectors(answer, len(texts))

    def _request_body(self, texts: list[str], input_type: InputType) -> dict[str, Any]:
        if self.local:
            extension = {"input_type": input_type, "encoding_format": "base64"}
            return {"model": self.model, "input": texts} | extension
        # an endpoint of another kind takes texts as they are: what e5 wants before them is put there by us
        prefix = E5_PREFIXES[input_type] if re.search(r"\be5\b", self.model.lower()) else ""
        return {"model": self.model, "input": [prefix + text for text in texts], "encoding_format": "float"}

    def _call(self, method: str, path: str, body: dict[str, Any] | None, patience: Patience) -> dict[str, Any]:
        """The answer's JSON; tries again while the endpoint is away and patience lasts."""
        seconds = min(self._timeout, QUERY_SECONDS) if patience is QUERY_PATIENCE else self._timeout
        return _patiently(lambda: self._checked(self._call_once(method, path, body, seconds)), patience)

    def _call_once(self, method: str, path: str, body: dict[str, Any] | None, seconds: float) -> "Reply":
        if self._kept:
            return self._call_own(self._kept, method, path, body, seconds)
        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        try:
            response = self._http.request(method, self._base_url + path, json=body, timeout=timeout)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise EncoderRejected(f"EMBEDDING_BASE_URL or EMBEDDING_API_KEY cannot be used: {error}") from error
        except httpx.TimeoutException as error:
            raise self._too_slow() from error
        except httpx.RequestError as error:
            raise self._away(error) from error
        return Reply(response.status_code, response.content)

    def _call_own(
        self, kept: Connections, method: str, path: str, body: dict[str, Any] | None, seconds: float
    ) -> "Reply":
        """Through the socket, the way that each question takes."""
        target = "/" + self._base_url.partition("://")[2].partition("/")[2] + path
        headers = {"Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        patience = http_connections.Patience(min(seconds, CONNECT_SECONDS), seconds)
        content = b"" if body is None else json.dumps(body).encode()
        try:
            with kept.exchange(method, target, headers, content, patience) as response:
                return Reply(response.status, response.read())
        except TooSlow as error:
            raise self._too_slow() from error
        except HttpError as error:
            raise self._away(error) from error

    def _too_slow(self) -> "_TooSlow":
        return _TooSlow(f"{self._name} did not answer in time; it is overloaded or hangs.")

    def _away(self, error: Exception) -> EncoderUnavailable:
        return EncoderUnavailable(f"{self._name} cannot be reached ({error}); is it running?")

    def _checked(self, reply: "Reply") -> dict[str, Any]:
        if reply.status == 429 or reply.status >= 500:
            raise EncoderUnavailable(f"{self._name} answered {reply.status}: {_error_message(reply)}")
        if reply.status != 200:
            raise EncoderRejected(self._refusal(reply), reply.status)
        try:
            answer = json.loads(reply.content)
        except ValueError as error:
            raise EncoderRejected(f"{self._name} did not answer with JSON; check EMBEDDING_BASE_URL.") from error
        if not isinstance(answer, dict):
            raise EncoderRejected(f"{self._name} does not answer as OpenAI's API does; check EMBEDDING_BASE_URL.")
        return answer

    def _refusal(self, reply: "Reply") -> str:
        advice = {
            401: " Check EMBEDDING_API_KEY.",
            403: " Check EMBEDDING_API_KEY.",
            404: " Check EMBEDDING_BASE_URL and EMBEDDING_MODEL.",
        }.get(reply.status, "")
        return f"{self._name} refused with {reply.status}: {_error_message(reply)}{advice}"

    @property
    def _name(self) -> str:
        return f"The encoder ({self._socket or self._base_url})"

    @property
    def _http(self) -> httpx.Client:
        """This process's connections: a forked child must not read answers to its parent's requests."""
        if self._connections is None or self._connections[0] != os.getpid():
            self._connections = (os.getpid(), self._connect())
        return self._connections[1]

    def _connect(self) -> httpx.Client:
        limits = httpx.Limits(
            max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=IDLE_SECONDS
        )
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        return httpx.Client(limits=limits, headers=headers)


@dataclass(frozen=True)
class Reply:
    """What the endpoint answered."""

    status: int
    content: bytes


class _TooSlow(EncoderUnavailable):
    """Not tried again: all patience has gone into the one call."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a multilingual model makes of it: 0.7 a Chinese, Japanese or Korean character, and one for
    four other characters."""
    cjk = len(CJK.findall(text))
    return round(cjk * TOKENS_PER_CJK_CHARACTER + (len(text) - cjk) / CHARACTERS_PER_TOKEN)


def _batches(texts: Sequence[str], size: int) -> Iterator[list[str]]:
    """The texts in order, in lists of at most so many and of a size that one request can carry."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) == size or characters + len(text) > LARGEST_REQUEST_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(_encodable(text))
        characters += len(text)
    if batch:
        yield batch


def _encodable(text: str) -> str:
    """Halves of surrogate pairs come in from JSON and cannot go out again."""
    return text.encode("utf-8", "replace").decode()


def _patiently(call: Callable[[], dict[str, Any]], patience: Patience) -> dict[str, Any]:
    deadline = time.monotonic() + patience.seconds
    pause = patience.first_pause
    while True:
        try:
            return call()
        except _TooSlow:
            raise
        except EncoderUnavailable:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, patience.longest_pause)


def _error_message(reply: Reply) -> str:
    """What the endpoint says, in OpenAI's form or any other."""
    try:
        message = json.loads(reply.content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = reply.content[:800].decode(errors="replace")[:200] or responses.get(reply.status, "")
    return str(message)


def _vectors(answer: dict[str, Any], count: int) -> Vectors:
    """The vectors in the order of the texts, of length 1 whatever the endpoint does."""
    try:
        items = sorted(answer["data"], key=lambda item: item["index"])
        vectors = np.array([_vector(item["embedding"]) for item in items], dtype=np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise EncoderRejected("The encoder's answer is not in the form of OpenAI's embeddings API.") from error
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if vectors.ndim != 2 or len(vectors) != count or not np.all(np.isfinite(lengths)) or not lengths.all():
        raise EncoderRejected(f"The encoder did not answer with {count} usable vectors.")
    normalised: Vectors = vectors / lengths
    return normalised


def _vector(embedding: str | list[float]) -> Vectors:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4").astype(np.float32)
    return np.array(embedding, dtype=np.float32)
