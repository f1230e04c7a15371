"""Endpoints of people and tokens."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ragsite.accounts.callers import caller
from ragsite.accounts.models import ApiToken
from ragsite.accounts.serializers import IssuedTokenSerializer, MeSerializer, NewTokenSerializer, TokenSerializer
from ragsite.api.problems import Problem


class MeView(APIView):
    """Who is calling."""

    @extend_schema(operation_id="me", responses=MeSerializer)
    def get(self, request: Request) -> Response:
        return Response(MeSerializer(caller(request), context={"request": request}).data)


class TokenListView(generics.ListAPIView[ApiToken]):
    """One's API tokens that are not revoked."""

    serializer_class = TokenSerializer
    queryset = ApiToken.objects.none()
    keyset_orderings: ClassVar[dict[str, Any]] = {"-created_at": ("-id",), "created_at": ("id",)}

    def get_queryset(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.for_user(caller(self.request)).not_revoked()

    @extend_schema(operation_id="tokens_create", request=NewTokenSerializer, responses={201: IssuedTokenSerializer})
    def post(self, request: Request) -> Response:
        """Make a token. Its secret is in this answer and nowhere else. Needs a session: no token makes another."""
        if isinstance(request.auth, ApiToken):
            raise Problem(403, "session_required", "A token cannot make tokens. Sign in on the site to make one.")
        form = NewTokenSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = form.validated_data
        scopes = sorted(wanted.get("scopes") or ApiToken.SCOPES)
        token, secret = ApiToken.issue(
            owner=caller(request), name=wanted["name"], scopes=scopes, expires_at=wanted["expires_at"]
        )
        body = {**TokenSerializer(token).data, "secret": secret}
        return Response(body, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class TokenView(generics.GenericAPIView[ApiToken]):
    """One token."""

    serializer_class = TokenSerializer
    queryset = ApiToken.objects.none()

    def get_queryset(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.for_user(caller(self.request)).not_revoked()

    @extend_schema(operation_id="tokens_retrieve")
    def get(self, request: Request, pk: str) -> Response:
        return Response(TokenSerializer(self.get_object()).data)

    @extend_schema(operation_id="tokens_revoke", responses={204: None})
    def delete(self, request: Request, pk: str) -> Response:
        """Revoke it: it stops working at once."""
        self.get_object().revoke()
        return Response(status=status.HTTP_204_NO_CONTENT)
