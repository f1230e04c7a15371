from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People and their API tokens."""

    name = "ragsite.accounts"
    label = "accounts"

    def ready(self) -> None:
        from ragsite.api import schema  # noqa: F401  (registers the bearer token with drf-spectacular)
