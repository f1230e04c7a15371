"""Endpoints of people and tokens, below /api/v1/."""

from django.urls import path

from ragsite.accounts.api import MeView, TokenListView, TokenView

urlpatterns = [
    path("me", MeView.as_view(), name="api-me"),
    path("tokens", TokenListView.as_view(), name="api-tokens"),
    path("tokens/<uuid:pk>", TokenView.as_view(), name="api-token"),
]
