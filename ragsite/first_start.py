"""What a new site, or a new release of it, needs once: static files and somebody who can sign in."""

import hashlib
import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

NOT_COLLECTED = ["django_htmx/ext/*"]
"""Not used here, and their comments name modules that are not there, on which collecting fails."""


def ensure_first_administrator() -> dict[str, str] | None:
    """Make `admin` with a generated password when nobody can sign in yet; the name and password, or None.

    Owners made by `manage.py ingest` have no password and do not count, but one named `admin` is taken over: nobody
    else can have that name then, because who has signed up has a password.
    """
    users = get_user_model()._default_manager
    if users.exclude(password="").exclude(password__startswith=UNUSABLE_PASSWORD_PREFIX).exists():
        return None
    user, _ = users.get_or_create(username="admin")
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.is_staff = user.is_superuser = user.is_active = True
    user.save()
    return {"username": "admin", "password": password}


def collect_static_files() -> None:
    """Collect and hash static files, unless what is collected came from the very files that are there now."""
    note = Path(settings.STATIC_ROOT) / ".collected"
    fingerprint = _static_fingerprint()
    if note.is_file() and note.read_text() == fingerprint:
        return
    call_command("collectstatic", interactive=False, clear=True, verbosity=0, ignore_patterns=NOT_COLLECTED)
    note.write_text(fingerprint)


def _static_fingerprint() -> str:
    """Changes with the name, size and time of any static file, and with how they are stored.

    Whole seconds: an image keeps no more of a file's time.
    """
    digest = hashlib.sha256(repr(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            state = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{state.st_size}\0{int(state.st_mtime)}\n".encode())
    return digest.hexdigest()
