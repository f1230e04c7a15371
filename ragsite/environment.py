"""Settings from a file: ``.env`` beside manage.py, for what the environment does not set itself."""

import os

import environ

from ragsite.layout import PROJECT_DIR


def read_dotenv() -> None:
    """Read ``.env``, or the file that ``RAGSITE_DOTENV`` names, if it is there; what the environment holds wins."""
    path = PROJECT_DIR / os.environ.get("RAGSITE_DOTENV", ".env")
    if path.is_file():
        environ.Env.read_env(path, overwrite=False)
