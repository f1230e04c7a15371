"""Values that are made of rows, kept in Valkey, and never older than the last write that was committed.

``registry`` names each kind of value and what it is made of; ``reading`` gets and makes values, ``writing`` tells of
changes; ``protocol`` has what both do in Valkey, ``epoch`` what becomes of it while Valkey is away.
"""

from ragsite.caching.codecs import BYTES, FLOATS, JSON, PAGE
from ragsite.caching.counters import statistics
from ragsite.caching.reading import delete, fill, get, get_many, get_or_compute, look, put
from ragsite.caching.registry import Dependency, Keyspace, dependencies, keyspaces
from ragsite.caching.writing import changed, changing

__all__ = [
    "BYTES",
    "FLOATS",
    "JSON",
    "PAGE",
    "Dependency",
    "Keyspace",
    "changed",
    "changing",
    "delete",
    "dependencies",
    "fill",
    "get",
    "get_many",
    "get_or_compute",
    "keyspaces",
    "look",
    "put",
    "statistics",
]
