"""How much of a request's body is taken: a little from anybody, files from those who have signed in."""

import contextlib
import fcntl
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponseBase

from ragsite.api.problems import Problem, UploadTooLarge, problem_response, speaks_json

UPLOAD_PATHS = {"/api/v1/documents", "/api/v1/documents/import", "/api/v1/uploads", "/library/upload/"}
"""Where files are taken. Here, because the body's fate is settled before there is a view (a test compares)."""
RESUMABLE_PREFIX = "/api/v1/uploads/"
"""Below it is one address for each resumable upload."""

JUST_MADE_SECONDS = 60
"""A file is locked in the moment after it was made."""
HOUR = 3600
ABANDONED_SECONDS = 24 * HOUR
"""So long a resumable upload may rest."""

logger = logging.getLogger(__name__)


class BoundedBody:
    """Refuses a body by its announced length, before anything reads it.

    Needed because Django's CSRF check reads the form, and with it stores the files, before a view can ask who it is.
    What is announced is all there is: Django reads no further than ``Content-Length``.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        small = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        length = _announced_length(request)
        if length <= small:
            return self.get_response(request)
        if request.path_info not in UPLOAD_PATHS and not request.path_info.startswith(RESUMABLE_PREFIX):
            raise RequestDataTooBig("The request's body is too large.")
        if not _may_know_caller(request):
            return _sign_in_first(request)
        if length > upload_limit() + small:  # what is around the files, with the other fields
            raise UploadTooLarge()
        return self.get_response(request)


class BoundedUploadHandler(TemporaryFileUploadHandler):
    """Stores the files of a request until they are too large together; then nothing of the last one stays."""

    received = 0

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """The kernel unlocks the file when this process is killed: the sweep sees that nobody writes it any more."""
        super().new_file(*args, **kwargs)
        fcntl.flock(self.file.fileno(), fcntl.LOCK_EX)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> Any:
        self.received += len(raw_data)
        if self.received > upload_limit():
            self.file.close()  # removes it
            raise UploadTooLarge()
        try:
            return super().receive_data_chunk(raw_data, start)
        except OSError:
            with contextlib.suppress(OSError):  # what is still in its buffer has no room either
                self.file.close()
            raise


def remove_left() -> int:
    """Remove from this machine's folder what uploads have left that broke off or that nobody goes on with."""
    removed, oldest = 0, time.time() - ABANDONED_SECONDS
    for path in settings.LAYOUT.uploads_dir.iterdir():
        with contextlib.suppress(FileNotFoundError):  # an upload that has just ended
            if path.stat().st_mtime < oldest or _was_left(path):
                path.unlink()
                removed += 1
    return removed


def remove_left_each_hour() -> None:
    """In a thread of a web process: the clock's sweeping sees no folder but that of its own machine."""

    def run() -> None:
        hours = threading.Event()
        while not hours.wait(HOUR):
            try:
                remove_left()
            except OSError as error:
                logger.warning("what uploads have left stays for another hour: %s", error.strerror)

    threading.Thread(target=run, name="uploads", daemon=True).start()


def _was_left(path: Path) -> bool:
    """Whether this is the beginning of a file in a request whose process was killed."""
    if ".upload" not in path.suffixes or time.time() - path.stat().st_mtime < JUST_MADE_SECONDS:
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def upload_limit() -> int:
    """Bytes that the files of one request may have together."""
    return settings.RAGSITE_MAX_UPLOAD_MB << 20


def _announced_length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def _may_know_caller(request: HttpRequest) -> bool:
    """Whether somebody signed in, or says to have a token: DRF looks at the token before it reads the body."""
    return SESSION_KEY in request.session or (speaks_json(request) and "Authorization" in request.headers)


def _sign_in_first(request: HttpRequest) -> HttpResponseBase:
    if not speaks_json(request):
        return redirect_to_login(request.get_full_path())
    challenge = {"WWW-Authenticate": 'Bearer realm="api"'}
    return problem_response(Problem(401, "not_authenticated", "Sign in, or send a token.", headers=challenge))
