"""`manage.py up`: starts the site's processes, labels their output, restarts what dies and stops all of them.

Knows nothing of Django: what needs it (migrations, the first administrator) runs as `manage.py prepare`.
"""

from ragsite.supervisor.site import up

__all__ = ["up"]
