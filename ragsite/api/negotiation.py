"""Which renderer answers a request."""

from typing import Any

from django.http import Http404
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class FallbackNegotiation(DefaultContentNegotiation):
    """Like DRF's, but never 406: an ``Accept`` that asks for an event stream or a picture still gets errors as JSON."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except (NotAcceptable, Http404):  # 404 is what DRF makes of an unknown ?format=
            return renderers[0], renderers[0].media_type
