"""Every kind of value that is cached, declared once: what names it, how long it lasts, what it is made of."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from django.conf import settings

from ragsite.caching.codecs import JSON, Codec

V = TypeVar("V")
KEY_TYPES = (int, str, UUID)
LARGEST_VALUE = 1 << 20
"""Bytes; what is larger is not kept: it would push out hundreds of others."""

_keyspaces: dict[str, "Keyspace[Any]"] = {}
_dependencies: dict[str, "Dependency"] = {}


@dataclass(frozen=True)
class Dependency:
    """Something that values are made of. Who changes it says so in the transaction: ``changed(DOCUMENT(owner=…))``."""

    name: str
    key: tuple[str, ...]
    changed_by: str
    """For people: which writes change it."""
    do_not_call_in_templates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _register(_dependencies, self)

    def __call__(self, **parts: int | UUID) -> str:
        """Which one of its kind, as a string."""
        if parts.keys() != set(self.key):
            raise TypeError(f"{self.name} takes {', '.join(self.key)}, not {', '.join(parts)}")
        return ":".join((self.name, *(str(parts[name]) for name in self.key)))

    @property
    def pattern(self) -> str:
        return ":".join((self.name, *(f"{{{name}}}" for name in self.key)))


@dataclass(frozen=True)
class Keyspace(Generic[V]):
    """Values of one kind. Strings in the key stand in it as their hash: they may hold anything, and be long."""

    name: str
    key: Mapping[str, type]
    what: str
    """For people: what is kept, and where it is read."""
    ttl: timedelta
    depends_on: tuple[Dependency, ...] = ()
    codec: Codec[V] = field(default=JSON)
    schema: int = 1
    """Of the value: one that was written under another number is none."""
    flight: timedelta = timedelta(seconds=5)
    """How long others wait for the one who computes."""
    from_replica: "Keyspace[Any] | None" = None
    """One of ``ragsite.replicas.position.written``, if what is not kept may come from a replica."""
    switchable: bool = True

    def __post_init__(self) -> None:
        if not set(self.key.values()) <= set(KEY_TYPES):
            raise TypeError(f"the key of {self.name} has a type that is not one of {KEY_TYPES}")
        for dependency in self.depends_on:
            if not set(dependency.key) <= self.key.keys():
                raise TypeError(f"the key of {self.name} does not say which {dependency.name} it is made of")
        _register(_keyspaces, self)

    @property
    def enabled(self) -> bool:
        """Whether it is switched on (``RAGSITE_CACHES_OFF``)."""
        off = settings.CACHES_OFF
        return not self.switchable or (self.name not in off and "all" not in off)

    @property
    def pattern(self) -> str:
        return ":".join((self.name, *(f"{{{name}}}" for name in self.key)))

    def entry(self, key: Mapping[str, Any]) -> str:
        """The name of one value. Raises TypeError for a key of another shape."""
        if key.keys() != self.key.keys():
            raise TypeError(f"{self.name} is named by {', '.join(self.key)}, not by {', '.join(key)}")
        return ":".join((self.name, *(_part(key[name], kind) for name, kind in self.key.items())))

    def made_of(self, key: Mapping[str, Any]) -> list[str]:
        """What this value depends on."""
        return [dependency(**{name: key[name] for name in dependency.key}) for dependency in self.depends_on]


def _part(value: Any, kind: type) -> str:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    if isinstance(value, str):
        return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return str(value)


def _register(registered: dict[str, Any], entry: Any) -> None:
    if entry.name in registered:
        raise ValueError(f"there are two of {entry.name}")
    registered[entry.name] = entry


def keyspaces() -> list[Keyspace[Any]]:
    """All of them, by name."""
    return [_keyspaces[name] for name in sorted(_keyspaces)]


def dependencies() -> list[Dependency]:
    """All of them, by name."""
    return [_dependencies[name] for name in sorted(_dependencies)]
