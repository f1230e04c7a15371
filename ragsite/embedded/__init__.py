"""PostgreSQL and Valkey from their wheels' own binaries, and what runs beside them. Knows nothing of Django."""

from ragsite.embedded.errors import CannotStart
from ragsite.embedded.services import services_for

__all__ = ["CannotStart", "services_for"]
