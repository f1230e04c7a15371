"""Hits that are one passage: neighbouring chunks of which the border cuts a paragraph, a list or a table."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ragsite.replicas import read_connection

if TYPE_CHECKING:
    from documents.search.ranking import Hit

MOST_JOINED = 3
"""Chunks: more are no passage to read in one go."""
WITHIN_A_BLOCK = 1
"""Characters between two chunks of one block: a space or the end of a row. Between blocks there are more."""

CHARACTERS = """
SELECT gap.document, gap.place, substr(t.text, gap.place + 1, 1)
FROM unnest(%(documents)s::uuid[], %(places)s::integer[]) AS gap(document, place)
JOIN documents_text t ON t.document_id = gap.document AND t.owner_id = %(owner)s
"""


def joined(owner_id: int, hits: Sequence["Hit"], limit: int) -> list["Hit"]:
    """The first ``limit`` hits, those that belong together as one, in the place of the best of them.

    A joined hit has the best one's scores and sentence. Its text is the document's from its first chunk to its last.
    """
    order = {id(hit): place for place, hit in enumerate(hits)}
    groups = sorted(_groups(hits), key=lambda group: min(order[id(hit)] for hit in group))[:limit]
    between = _between(owner_id, [gap for group in groups for gap in _gaps(group)])
    return [_one(group, min(group, key=lambda hit: order[id(hit)]), between) for group in groups]


def _groups(hits: Sequence["Hit"]) -> Iterator[list["Hit"]]:
    """The hits in the order of their documents, in runs that belong together."""
    group: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.document_id, hit.position)):
        if group and (len(group) == MOST_JOINED or not _belong_together(group[-1], hit)):
            yield group
            group = []
        group.append(hit)
    if group:
        yield group


def _belong_together(first: "Hit", second: "Hit") -> bool:
    return (
        first.document_id == second.document_id
        and first.position + 1 == second.position
        and 0 <= second.start - first.end <= WITHIN_A_BLOCK
        and (first.kind, first.page, first.headings) == (second.kind, second.page, second.headings)
    )


def _gaps(group: Sequence["Hit"]) -> Iterator[tuple[UUID, int]]:
    """Where a character stands between two chunks."""
    return ((one.document_id, one.end) for one, other in pairwise(group) if one.end < other.start)


def _between(owner_id: int, gaps: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], str]:
    """The characters at these places of documents; none of a document that has just gone."""
    if not gaps:
        return {}
    documents, places = zip(*gaps, strict=True)
    parameters: dict[str, Any] = {
        "owner": owner_id,
        "documents": [str(id_) for id_ in documents],
        "places": list(places),
    }
    with read_connection().cursor() as cursor:
        cursor.execute(CHARACTERS, parameters)
        return {(document, place): character for document, place, character in cursor.fetchall()}


def _one(group: Sequence["Hit"], best: "Hit", between: dict[tuple[UUID, int], str]) -> "Hit":
    if len(group) == 1:
        return best
    text = "".join(hit.text + between.get((hit.document_id, hit.end), "") for hit in group[:-1]) + group[-1].text
    first, last = group[0], group[-1]
    return replace(
        best, position=first.position, start=first.start, end=last.end, text=text, words=max(hit.words for hit in group)
    )
