"""The events of an answer, and how they look on the wire (Server-Sent Events)."""

import json
from dataclasses import dataclass
from typing import Any

STATUS, PASSAGES, TOKEN, CITATION, DONE, ERROR = "status", "passages", "token", "citation", "done", "error"
LAST = frozenset({DONE, ERROR})
HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True)
class Event:
    """One event; ids of an answer's events are 1, 2, 3… without gaps. ``payload`` is JSON on one line."""

    id: int
    name: str
    payload: str

    @classmethod
    def of(cls, number: int, name: str, data: dict[str, Any]) -> "Event":
        return cls(number, name, json.dumps(data, ensure_ascii=False, separators=(",", ":")))

    @property
    def data(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.payload)
        return decoded

    @property
    def is_last(self) -> bool:
        return self.name in LAST

    @property
    def frame(self) -> bytes:
        return f"id: {self.id}\nevent: {self.name}\ndata: {self.payload}\n\n".encode()
