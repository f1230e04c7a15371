"""What a caller may do."""

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from ragsite.accounts.models import ApiToken


class TokenHasScope(BasePermission):
    """A token needs ``read`` to read and ``write`` for all else; a signed-in person has both.

    A view whose POST only reads says so: ``read_scope_methods = ("POST",)``.
    """

    message = "The token lacks the scope for this."
    code = "insufficient_scope"

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, ApiToken):
            return True
        reading = request.method in (*SAFE_METHODS, *getattr(view, "read_scope_methods", ()))
        return (ApiToken.READ if reading else ApiToken.WRITE) in request.auth.scopes
