"""Which engine answers."""

from functools import cache
from typing import Any

from chat.bodies import QUOTING_ENGINE
from chat.engines.base import Engine
from ragsite.language_models import LanguageModel, configured_models

QUOTES_ONLY = "quotes"
"""The style that only the quoting engine can promise: a model may always change a word."""


def engine_for(language_model: str = "", style: str = "") -> Engine:
    """The engine that is picked by name, else the first model, else the one that quotes.

    A name that is configured no longer counts as none: old conversations go on.
    """
    models = configured_models()
    if not models or style == QUOTES_ONLY or language_model == QUOTING_ENGINE:
        return _extractive()
    return _model_engine(next((model for model in models if model.name == language_model), models[0]))


def pickable_names() -> list[str]:
    """What a conversation may name."""
    return [*(model.name for model in configured_models()), QUOTING_ENGINE]


def pickable_models() -> list[dict[str, Any]]:
    """The same for people and programs. Neither addresses nor keys."""
    models = configured_models()
    offered = [
        {"name": model.name, "label": model.label, "model": model.model, "first": number == 0}
        for number, model in enumerate(models)
    ]
    return [*offered, {"name": QUOTING_ENGINE, "label": "Quotes only", "model": "", "first": not models}]


@cache
def _extractive() -> Engine:
    from chat.engines.extractive import ExtractiveEngine

    return ExtractiveEngine()


@cache
def _model_engine(model: LanguageModel) -> Engine:
    from chat.engines.openai import OpenAIEngine

    return OpenAIEngine(model)
