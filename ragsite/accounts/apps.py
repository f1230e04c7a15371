from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People and their API tokens."""

    name = "ragsite.accounts"
    label = "accounts"
