"""Settings from a file: ``.env`` beside manage.py, for what the environment does not set itself."""

import environ

from ragsite.layout import PROJECT_DIR


def read_dotenv() -> None:
    """Read ``.env`` if it is there; what the environment already holds wins."""
    path = PROJECT_DIR / ".env"
    if path.is_file():
        environ.Env.read_env(path, overwrite=False)
