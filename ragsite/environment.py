"""Settings from a file: ``.env`` beside manage.py, for what the environment does not set itself."""

import os
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from ragsite.layout import PROJECT_DIR


def read_dotenv() -> None:
    """Read ``.env``, or the file that ``RAGSITE_DOTENV`` names, if it is there; what the environment holds wins."""
    path = PROJECT_DIR / os.environ.get("RAGSITE_DOTENV", ".env")
    if path.is_file():
        environ.Env.read_env(path, overwrite=False)


class SettingsEnv(environ.Env):
    """The environment, which says of a wrong value what it should be; the value itself may be a secret."""

    def get_value(self, var: str, cast: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, cast, *args, **kwargs)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} has a value that is no {getattr(cast, '__name__', 'value')}.") from error
