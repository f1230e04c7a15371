"""What an answer has come to so far."""

import time
from dataclasses import dataclass, field
from typing import Any

from chat.answers.passages import Passage
from chat.models import Citation, Message


@dataclass
class Draft:
    """Filled by the producer's thread, stored at the end, whatever the end is."""

    engine: str = ""
    model: str = ""
    query: str = ""
    passages: list[Passage] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str = ""
    support: dict[str, Any] | None = None
    model_seconds: float = 0.0
    """How long the first words were waited for at a model."""
    cached: bool = False
    status: str = Message.Status.COMPLETE
    error_code: str = ""
    error_detail: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def note_time(self, part: str) -> None:
        """The seconds from the start to now, unless noted before."""
        self.timings.setdefault(part, round(time.monotonic() - self.started, 4))

    def fail(self, code: str, detail: str) -> None:
        self.status, self.error_code, self.error_detail = Message.Status.FAILED, code, detail
