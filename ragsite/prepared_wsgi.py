"""The WSGI application as `manage.py up` serves it: database and static files are brought up to date before.

In the same process, because importing everything a second time took as long as the rest of the start; and in a fork of
it, so that the web processes inherit no connection.
"""

import os
import sys

import django
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application


def prepare() -> None:
    """Run `manage.py prepare`; end this process where that fails."""
    child = os.fork()
    if child == 0:
        _run_and_exit()
    _, status = os.waitpid(child, 0)
    if status != 0:
        sys.exit(1)


def _run_and_exit() -> None:
    code: str | int | None = 1
    try:
        execute_from_command_line(["manage.py", "prepare", "--report", os.environ["RAGSITE_REPORT_FD"]])
        code = 0
    except SystemExit as error:
        code = error.code
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if code in {0, None} else 1)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
django.setup()
prepare()
application = get_wsgi_application()
