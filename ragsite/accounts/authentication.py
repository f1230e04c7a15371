"""Who calls: bearer tokens."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from ragsite.accounts.models import ApiToken, User
from ragsite.api.throttling import FailureThrottle
from ragsite.rows import columns, instance, row_of

USE_IS_NOTED_EVERY = timedelta(minutes=1)
USABLE_TOKEN = f"""
SELECT {columns(ApiToken, "t")}, {columns(User, "u")}
FROM accounts_apitoken t JOIN accounts_user u ON u.id = t.owner_id
WHERE t.digest = %(digest)s AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
  AND u.is_active
"""  # noqa: S608  (the models' columns)
"""Of every request of the API: a fifth of what it took was Django compiling this."""
TOKEN_COLUMNS = len(ApiToken._meta.concrete_fields)


class ApiTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer TOKEN``. ``request.auth`` is then the ApiToken, ``request.user`` its owner."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        failures = FailureThrottle()
        if not failures.ask(request, counted=False):  # before the database is asked
            raise Throttled(failures.wait())
        token = usable_token(secret.strip())
        if token is None:
            failures.ask(request, counted=True)
            raise AuthenticationFailed("The token is unknown, expired or revoked.", code="invalid_token")
        note_use(token)
        return token.owner, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


def usable_token(secret: str) -> ApiToken | None:
    """The token with its owner, as ``ApiToken.objects.matching(secret).usable()`` finds it."""
    row = row_of(USABLE_TOKEN, {"digest": ApiToken.digest_of(secret), "now": timezone.now()})
    if row is None:
        return None
    token = instance(ApiToken, row[:TOKEN_COLUMNS])
    token.owner = instance(User, row[TOKEN_COLUMNS:])
    return token


def note_use(token: ApiToken) -> None:
    """Write down that the token is in use: at most once a minute, by whichever request comes first."""
    now = timezone.now()
    if token.last_used_at and token.last_used_at > now - USE_IS_NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_IS_NOTED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
