"""Tokens and sessions of the seeded accounts, printed as JSON. Runs with a site's environment:

    python -m tests.load.harness.accounts 30

Signing in through the page would cost the site a third of a second of hashing for each.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any

NAMED = "seed-"
ADMIN = "load-admin"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
    import django

    django.setup()
    from ragsite.accounts.models import User

    chosen = User.objects.filter(username__startswith=NAMED).order_by("id")[: int(sys.argv[1])]
    admin, _ = User.objects.get_or_create(username=ADMIN, defaults={"is_staff": True, "is_superuser": True})
    print(json.dumps({"accounts": [_account(user) for user in chosen], "admin": _account(admin)}))


def _account(user: Any) -> dict[str, str]:
    from django.conf import settings

    from ragsite.accounts.models import ApiToken

    _, secret = ApiToken.issue(owner=user, name="load")
    return {"name": user.username, "token": secret, "cookie": f"{settings.SESSION_COOKIE_NAME}={_session(user)}"}


def _session(user: Any) -> str:
    from django.conf import settings
    from django.contrib import auth

    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[auth.SESSION_KEY] = str(user.pk)
    session[auth.BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    key: str = session.session_key
    return key


if __name__ == "__main__":
    main()
