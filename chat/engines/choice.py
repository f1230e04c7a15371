"""Which engine answers."""

from functools import cache

from django.conf import settings

from chat.engines.base import Engine


def configured_engine() -> Engine:
    """The model that the settings name, else the one that quotes."""
    return _model_engine(settings.LLM_BASE_URL, settings.LLM_MODEL, settings.LLM_API_KEY) or _extractive()


@cache
def _extractive() -> Engine:
    from chat.engines.extractive import ExtractiveEngine

    return ExtractiveEngine()


@cache
def _model_engine(base_url: str, model: str, api_key: str) -> Engine | None:
    if not base_url:
        return None
    from chat.engines.openai import OpenAIEngine

    return OpenAIEngine(base_url, model, api_key)
