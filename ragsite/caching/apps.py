from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CachingConfig(AppConfig):
    """Values that are made of rows, kept in Valkey."""

    name = "ragsite.caching"
    label = "caching"

    def ready(self) -> None:
        autodiscover_modules("caching")  # each app declares its keyspaces there
