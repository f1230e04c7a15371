"""Request bodies, read with care."""

import io
import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from ragsite.api.problems import Problem


class StrictJSONParser(JSONParser):
    """JSON of bounded size and depth, whose strings PostgreSQL can hold: no NUL, no half of a surrogate pair.

    DRF reads the stream itself, past Django's limit on the body's size, and checks strings in CharFields alone.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise Problem(413, "body_too_large", "The request's body is too large.")
        try:
            data = super().parse(io.BytesIO(body), media_type, parser_context)
            if b"\\u" in body or b"\0" in body:
                refuse_unstorable(data)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error
        return data


def refuse_unstorable(data: Any) -> None:
    """Raise ParseError when a string in the data holds NUL or a lone surrogate."""
    for text in _strings(data):
        if "\0" in text or (not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)):
            shown = json.dumps(text[:40])
            raise ParseError(f"Text must not hold NUL or half of a surrogate pair: {shown}")


def _strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for name, value in data.items():
            yield name
            yield from _strings(value)
    elif isinstance(data, list):
        for value in data:
            yield from _strings(value)
