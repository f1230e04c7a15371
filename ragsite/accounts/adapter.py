"""How allauth behaves here."""

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is open unless RAGSITE_SIGNUP is off."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.RAGSITE_SIGNUP)
