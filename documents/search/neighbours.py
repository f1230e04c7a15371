"""Hits that are one passage: neighbouring chunks of which the border cuts a paragraph, a list or a table."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models.functions import Substr

from documents.models import DocumentText

if TYPE_CHECKING:
    from documents.search.ranking import Hit

MOST_JOINED = 3
"""Chunks: more are no passage to read in one go."""
WITHIN_A_BLOCK = 1
"""Characters between two chunks of one block: a space or the end of a row. Between blocks there are more."""


def joined(hits: Sequence["Hit"]) -> list["Hit"]:
    """The hits, those that belong together as one, in the place of the best of them.

    A joined hit has the best one's scores and sentence. Its text is the document's from its first chunk to its last.
    """
    groups = list(_groups(hits))
    between = _between([pair for group in groups for pair in _gaps(group)])
    best = {id(hit): place for place, hit in enumerate(hits)}
    groups.sort(key=lambda group: min(best[id(hit)] for hit in group))
    return [_one(group, min(group, key=lambda hit: best[id(hit)]), between) for group in groups]


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


def _between(gaps: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], str]:
    """The characters at these places of documents; of a document that has just gone, nothing."""
    found: dict[tuple[UUID, int], str] = {}
    for document, place in gaps:
        text: Any = DocumentText.objects.filter(document=document).values_list(Substr("text", place + 1, 1), flat=True)
        found[document, place] = next(iter(text), " ")
    return found


def _one(group: Sequence["Hit"], best: "Hit", between: dict[tuple[UUID, int], str]) -> "Hit":
    if len(group) == 1:
        return best
    text = "".join(hit.text + between.get((hit.document_id, hit.end), "") for hit in group[:-1]) + group[-1].text
    first, last = group[0], group[-1]
    return replace(
        best, position=first.position, start=first.start, end=last.end, text=text, words=max(hit.words for hit in group)
    )
