"""What writes the words of an answer: sentences quoted from the passages, or a language model."""

from chat.engines.base import Engine, EngineError, Request, Turn
from chat.engines.choice import engine_for, pickable_models, pickable_names

__all__ = ["Engine", "EngineError", "Request", "Turn", "engine_for", "pickable_models", "pickable_names"]
