"""What a request's body says, by a serializer that is made once.

A serializer copies its fields for each request, which took longer than to look at what they are given.
"""

from functools import cache
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.serializers import Serializer


def validated(kind: type[Serializer], data: Any) -> dict[str, Any]:
    """As ``validated_data``, of a serializer without context. Raises ValidationError as ``is_valid`` does."""
    try:
        found: dict[str, Any] = _form(kind).run_validation(data)
    except ValidationError:
        kind(data=data).is_valid(raise_exception=True)  # which tells what is wrong in the usual form
        raise
    return found


@cache
def _form(kind: type[Serializer]) -> Serializer:
    form = kind()
    form.fields  # noqa: B018  (made here, and not by several threads at once)
    return form
