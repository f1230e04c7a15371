"""What no view should ever see."""

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase


class WellFormedInput:
    """Refuses (400) a query string that holds NUL or is not UTF-8: Django would pass on the one and mend the other."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        query = request.META.get("QUERY_STRING", "")
        if query and not _is_text(unquote_to_bytes(query.encode("latin-1", "replace"))):
            raise BadRequest("The query string is not valid UTF-8 text.")
        return self.get_response(request)


def _is_text(raw: bytes) -> bool:
    try:
        return "\0" not in raw.decode()
    except UnicodeDecodeError:
        return False
