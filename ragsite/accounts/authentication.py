"""Who calls: bearer tokens."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from ragsite.accounts.models import ApiToken, User
from ragsite.api.throttling import FailureThrottle

USE_IS_NOTED_EVERY = timedelta(minutes=1)


class ApiTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer TOKEN``. ``request.auth`` is then the ApiToken, ``request.user`` its owner."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        failures = FailureThrottle()
        if not failures.ask(request, counted=False):  # before the database is asked
            raise Throttled(failures.wait())
        token = ApiToken.objects.matching(secret.strip()).usable().select_related("owner").first()
        if token is None:
            failures.ask(request, counted=True)
            raise AuthenticationFailed("The token is unknown, expired or revoked.", code="invalid_token")
        note_use(token)
        return token.owner, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


def note_use(token: ApiToken) -> None:
    """Write down that the token is in use: at most once a minute, by whichever request comes first."""
    now = timezone.now()
    if token.last_used_at and token.last_used_at > now - USE_IS_NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_IS_NOTED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
