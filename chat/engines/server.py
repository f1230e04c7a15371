"""What a model's server says of itself: which models it has, and how long a context each takes."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from ragsite.language_models import LanguageModel

ASSUMED_CONTEXT = 8192
"""Where neither the settings nor the server say."""
ASK_SECONDS = 2.0
KNOWN_SECONDS = 600.0
UNKNOWN_SECONDS = 60.0
_CONTEXT_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")
"""Of a model in the list: vLLM and SGLang; OpenRouter and Together; Groq; Mistral; llama.cpp (below ``meta``)."""

_lock = threading.Lock()
_known: dict[LanguageModel, tuple[float, int | None]] = {}


def client(model: LanguageModel, seconds: float = ASK_SECONDS) -> httpx.Client:
    """For questions beside the answers. Redirects are not followed: the key is for this server."""
    headers = {"Authorization": f"Bearer {model.api_key}"} if model.api_key else {}
    return httpx.Client(headers=headers, timeout=seconds, follow_redirects=False)


def context_tokens(model: LanguageModel) -> int:
    """As declared in the settings, else as the server says (kept for ten minutes), else assumed."""
    if model.context_tokens:
        return model.context_tokens
    with _lock:
        until, size = _known.get(model, (0.0, None))
    if time.monotonic() >= until:
        size = asked_context(model)  # outside the lock: a slow server keeps only those who ask it
        with _lock:
            _known[model] = (time.monotonic() + (KNOWN_SECONDS if size else UNKNOWN_SECONDS), size)
    return size or ASSUMED_CONTEXT


def asked_context(model: LanguageModel) -> int | None:
    """What the server says of the model's context; None where it says nothing."""
    try:
        with client(model) as asking:
            listed = {entry["id"]: entry for entry in listed_models(asking, model.base_url)}
            said = context_in_list(listed.get(model.model, {}))
            return said or _llama_context(asking, model) or _ollama_context(asking, model)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None


def listed_models(asking: httpx.Client, base_url: str) -> list[dict[str, Any]]:
    """The server's list. Raises httpx.HTTPError (HTTPStatusError of a refusal), and ValueError when it is none."""
    response = asking.get(f"{base_url.rstrip('/')}/models")
    response.raise_for_status()
    body = response.json()
    found = body.get("data") if isinstance(body, dict) else body
    if not isinstance(found, list):
        raise ValueError("The server's list of models is not in OpenAI's form.")
    return [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def context_in_list(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    sources = [entry, meta if isinstance(meta, dict) else {}]
    said = [source.get(name) for source in sources for name in _CONTEXT_FIELDS]
    return next((size for size in said if isinstance(size, int) and size > 0), None)


@dataclass(frozen=True)
class _Root:
    """The server's address without ``/v1``: its own endpoints stand there."""

    url: str

    @classmethod
    def of(cls, model: LanguageModel) -> "_Root":
        parts = urlsplit(model.base_url)
        return cls(f"{parts.scheme}://{parts.netloc}")

    def json(self, asking: httpx.Client, path: str) -> dict[str, Any]:
        response = asking.get(self.url + path)
        body = response.json() if response.status_code == httpx.codes.OK else {}
        return body if isinstance(body, dict) else {}


def _llama_context(asking: httpx.Client, model: LanguageModel) -> int | None:
    """llama.cpp: the context of one slot, which is what a request gets."""
    said = _Root.of(model).json(asking, "/props").get("default_generation_settings")
    return context_in_list(said) if isinstance(said, dict) else None


def _ollama_context(asking: httpx.Client, model: LanguageModel) -> int | None:
    """Ollama tells it of a model that is loaded; what is longer it cuts silently."""
    loaded = _Root.of(model).json(asking, "/api/ps").get("models")
    names = {model.model, f"{model.model}:latest"}
    found = (entry for entry in loaded or [] if isinstance(entry, dict) and entry.get("name") in names)
    return next((size for entry in found if (size := context_in_list(entry))), None)
