"""Reads from streaming replicas of the database, where ``DATABASE_REPLICA_URLS`` names some (docs/replicas.md).

``routing`` says on which server a thread reads at the moment, ``position`` how far the primary had come when an owner's
rows were last changed, ``fleet`` which replicas have come as far, ``reading`` puts them together.
"""

from ragsite.replicas.reading import read
from ragsite.replicas.routing import on_primary, read_connection

__all__ = ["on_primary", "read", "read_connection"]
