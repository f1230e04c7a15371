"""What templates know of the site."""

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, bool]:
    return {"signup_open": settings.RAGSITE_SIGNUP, "sends_mail": settings.SENDS_MAIL}
