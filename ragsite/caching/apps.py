from django.apps import AppConfig


class CachingConfig(AppConfig):
    """Values that are made of rows, kept in Valkey."""

    name = "ragsite.caching"
    label = "caching"
