"""Pages of chat."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
