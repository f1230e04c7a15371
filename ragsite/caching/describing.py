"""The registry in words, for docs/caching-strategy.md: `manage.py cache_advice --registry` prints it."""

from collections.abc import Iterator

from ragsite.caching.registry import Keyspace, dependencies, keyspaces

BEGIN, END = "<!-- registry: manage.py cache_advice --registry -->", "<!-- end of registry -->"


def described() -> str:
    """Markdown between the marks."""
    return "\n".join([BEGIN, *_keyspaces(), "", *_dependencies(), END])


def _keyspaces() -> Iterator[str]:
    yield "| keyspace and key | what is kept | as | how long | schema | made of |"
    yield "|---|---|---|---|---|---|"
    for space in keyspaces():
        if space.name.startswith(("test-", "hammered")):
            continue
        made_of = ", ".join(f"`{dependency.name}`" for dependency in space.depends_on) or "its key alone"
        cells = (f"`{space.pattern}`", space.what, space.codec.name, duration(space), space.schema, made_of)
        yield f"| {' | '.join(map(str, cells))} |"


def _dependencies() -> Iterator[str]:
    yield "| what values are made of | changed by |"
    yield "|---|---|"
    for dependency in dependencies():
        if not dependency.name.startswith(("test-", "hammered")):
            yield f"| `{dependency.pattern}` | {dependency.changed_by} |"


def duration(space: Keyspace[object]) -> str:
    """``1 h``, ``1 min``."""
    seconds = round(space.ttl.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
