"""`manage.py up`: starts the site's processes, labels their output, restarts what dies and stops all of them.

Knows nothing of Django: what needs it (migrations, the first administrator) runs as `manage.py prepare`.
"""

from collections.abc import Sequence

from ragsite.supervisor.roles import ROLES, up_roles
from ragsite.supervisor.site import up_all

__all__ = ["ROLES", "up"]


def up(roles: Sequence[str] = ()) -> int:
    """The whole site, or the parts of it that are named."""
    return up_roles(roles) if roles else up_all()
