"""What every engine takes and does."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chat.answers.passages import Passage
from chat.answers.writer import Writer


class EngineError(Exception):
    """An answer that could not be written: ``code`` for programs, ``detail`` for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Turn:
    """An earlier message of the conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """A question with all that may be used to answer it."""

    question: str
    query: str
    """The question made self-contained, as it was searched for."""
    passages: tuple[Passage, ...]
    history: tuple[Turn, ...] = ()
    """Oldest first."""
    instructions: str = ""
    """What a collection's owner, or the system messages of an API's client, want of the answer."""
    style: str = ""
    """One of ``chat.models.Style``."""
    vector: NDArray[np.float32] | None = None
    """The query's vector, of shape (dimensions,), where the encoder gave one."""


class Engine(Protocol):
    """Stateless: one instance may write any number of answers at once."""

    name: str
    model: str
    passages_wanted: int

    def answer(self, request: Request, writer: Writer) -> None:
        """Write the answer. Raises EngineError, and lets the writer's Stopped pass."""
        ...
