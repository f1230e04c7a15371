"""What a caller may do."""

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission

from ragsite.accounts.models import ApiToken

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView  # at run time a circle: DRF's views load this module


class TokenHasScope(BasePermission):
    """A token needs ``read`` to read and ``write`` for all else; a signed-in person has both.

    A view whose POST only reads says so: ``read_scope_methods = ("POST",)``.
    """

    message = "The token lacks the scope for this."
    code = "insufficient_scope"

    def has_permission(self, request: "Request", view: "APIView") -> bool:
        if not isinstance(request.auth, ApiToken):
            return True
        reading = request.method in (*SAFE_METHODS, *getattr(view, "read_scope_methods", ()))
        return (ApiToken.READ if reading else ApiToken.WRITE) in request.auth.scopes
