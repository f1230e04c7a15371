"""Which code made a value: two releases of the site side by side keep apart what they render and compute."""

import hashlib
from functools import cache

from django.conf import settings

ROOMS = ("ragsite", "documents", "processing", "chat")
SETTINGS = (
    *("EMBEDDING_BASE_URL", "EMBEDDING_MODEL", "EMBEDDED_PARTS", "RERANK_BASE_URL", "RERANK_MODEL"),
    *("LLM_BASE_URL", "LLM_MODEL", "LLM_CONTEXT_TOKENS", "LLM_MAX_TOKENS", "LLM_MODELS"),
)
KINDS = {".py", ".html", ".css", ".js", ".json", ".toml", ".svg"}


@cache
def release() -> str:
    """A hash of the site's sources and of its settings of models, made once in a process (20 ms)."""
    digest = hashlib.sha256(repr([getattr(settings, name) for name in SETTINGS]).encode())
    for room in ROOMS:
        for path in sorted((settings.BASE_DIR / room).rglob("*")):
            if path.suffix in KINDS:
                digest.update(path.relative_to(settings.BASE_DIR).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]
