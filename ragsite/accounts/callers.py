"""Who is asking."""

from django.http import HttpRequest
from rest_framework.request import Request

from ragsite.accounts.models import User


def caller(request: HttpRequest | Request) -> User:
    """The signed-in user of a request that a permission or ``login_required`` has let through."""
    if not isinstance(request.user, User):
        raise TypeError("This view lets anonymous callers in.")
    return request.user
