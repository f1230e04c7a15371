"""How log lines look: one for people, or JSON with what a search needs."""

import logging
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from ragsite import origin, tracing

FIELDS = "{asctime}{levelname}{name}{message}{process}{threadName}"
RENAMED = {"asctime": "time", "levelname": "level", "name": "logger", "threadName": "thread"}


class JsonLines(JsonFormatter):
    """A line is one JSON object, with the id of the request or task and the trace it belongs to; none is empty."""

    def __init__(self) -> None:
        super().__init__(FIELDS, style="{", rename_fields=RENAMED, datefmt="%Y-%m-%dT%H:%M:%S%z")

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        came, parent = origin.current(), tracing.traceparent()
        log_data["request_id"] = came.id if came else None
        log_data["trace_id"] = parent.split("-")[1] if parent else None

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in log_data.items() if value not in (None, "")}
