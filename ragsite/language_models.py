"""The language models that the environment names. Their keys stay in this process: nothing shows or stores them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

FIRST = "default"
"""The name of the model that ``LLM_MODEL`` configures."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
RESERVED = {FIRST, "extractive"}


@dataclass(frozen=True)
class LanguageModel:
    """A model on an OpenAI-compatible server."""

    name: str
    """What people and programs pick it by."""
    base_url: str
    model: str
    """Its name on the server."""
    api_key: str = field(default="", repr=False)
    context_tokens: int = 0
    """0: what the server says, see ``chat.engines.server``."""
    max_tokens: int = 1024

    @property
    def label(self) -> str:
        """For people: the server's name of it, with ours where that is one of several."""
        return self.model if self.name == FIRST else f"{self.name} ({self.model})"


def configured_models() -> tuple[LanguageModel, ...]:
    """All of them; the first answers where none is picked. Empty: answers quote."""
    if not settings.LLM_BASE_URL:
        return tuple(settings.LLM_MODELS)
    first = LanguageModel(
        FIRST,
        settings.LLM_BASE_URL,
        settings.LLM_MODEL,
        settings.LLM_API_KEY,
        settings.LLM_CONTEXT_TOKENS,
        settings.LLM_MAX_TOKENS,
    )
    return (first, *settings.LLM_MODELS)


def named_models(names: Iterable[str], environment: Mapping[str, str]) -> tuple[LanguageModel, ...]:
    """The models of ``LLM_MODELS=fast,big``: each reads ``LLM_FAST_…``, and what is not there ``LLM_…``.

    The key is the other server's secret: it is taken over only together with the address. Raises ImproperlyConfigured.
    """
    return tuple(_named(name.strip(), environment) for name in names if name.strip())


def _named(name: str, environment: Mapping[str, str]) -> LanguageModel:
    if not NAME.fullmatch(name) or name in RESERVED:
        reserved = " or ".join(sorted(RESERVED))
        raise ImproperlyConfigured(f"LLM_MODELS: {name!r} is no name: small letters, digits, - and _; not {reserved}.")
    own = f"LLM_{name.upper().replace('-', '_')}_"
    address = environment.get(f"{own}BASE_URL", "")
    key = environment.get(f"{own}API_KEY", "" if address else environment.get("LLM_API_KEY", ""))
    return LanguageModel(
        name,
        address or environment.get("LLM_BASE_URL", ""),
        environment.get(f"{own}MODEL", ""),
        key,
        _number(environment, own, "CONTEXT_TOKENS", 0),
        _number(environment, own, "MAX_TOKENS", 1024),
    )


def _number(environment: Mapping[str, str], own: str, what: str, default: int) -> int:
    inherited = "" if environment.get(f"{own}BASE_URL") else environment.get(f"LLM_{what}", "")
    value = environment.get(f"{own}{what}") or inherited or str(default)
    if not value.isdecimal():
        raise ImproperlyConfigured(f"{own}{what} has a value that is no number.")
    return int(value)
