"""What the site says about itself and about the library, in the question's language."""

import re
import tomllib
from functools import cache
from pathlib import Path

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Lower

from chat.intents.naming import in_scope
from chat.intents.recognition import Intent, Kind
from documents import labels
from documents.models import Document
from documents.search import Scope
from ragsite import extraction as kinds

PHRASES = Path(__file__).with_name("replies.toml")
MOST_LISTED = 25
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+.!|<>~-])")
FILE_TYPES = {
    "pdf": (kinds.PDF,),
    "word": (kinds.DOCX,),
    "docx": (kinds.DOCX,),
    "excel": (kinds.XLSX, kinds.XLS),
    "xlsx": (kinds.XLSX,),
    "powerpoint": (kinds.PPTX,),
    "pptx": (kinds.PPTX,),
    "html": (kinds.HTML,),
    "markdown": (kinds.MARKDOWN,),
    "txt": (kinds.PLAIN_TEXT,),
    "text": (kinds.PLAIN_TEXT,),
    "csv": (kinds.CSV,),
    "image": tuple(kinds.PICTURES),
    "email": (kinds.EML, kinds.MSG),
    "epub": (kinds.EPUB,),
}


def reply(intent: Intent, scope: Scope) -> str:
    """The answer as Markdown. Reads the database."""
    if intent.kind is Kind.THANKS:
        return _phrase(intent.language, "thanks")
    documents = in_scope(scope)
    if intent.kind in (Kind.GREETING, Kind.ABILITIES):
        return _phrase(intent.language, intent.kind.value, documents=_counted(intent.language, documents.count()))
    if intent.kind is Kind.IN_WORK:
        return _work(intent.language, documents)
    return _overview(intent, documents)


def _overview(intent: Intent, documents: QuerySet[Document]) -> str:
    """How many there are, of what kind, and, for a list, their names."""
    types = FILE_TYPES.get(intent.file_type.rstrip("s").replace("-", ""), ())
    if types:
        documents = documents.filter(content_type__in=types)
    kind = labels.kind(types[0]) if types else ""
    found = documents.count()
    parts = [_counted(intent.language, found, kind)]
    if intent.kind is Kind.COUNT and not types and found:
        parts[0] += f" ({_by_type(documents)})"
    if intent.kind is Kind.LIST and found:
        parts.append(_listed(intent.language, documents, found))
    states = documents.aggregate(working=Count("id", filter=Q(status__in=Document.IN_WORK)), failed=_failed())
    parts += [
        _phrase(intent.language, key, count=states[name])
        for key, name in (("in_work", "working"), ("failed", "failed"))
        if states[name]
    ]
    return "\n\n".join(parts)


def _failed() -> Count:
    return Count("id", filter=Q(status=Document.Status.FAILED))


def _by_type(documents: QuerySet[Document]) -> str:
    counts: dict[str, int] = {}
    for content_type, count in documents.values_list("content_type").annotate(Count("id")):
        counts[labels.kind(content_type)] = counts.get(labels.kind(content_type), 0) + count
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _listed(language: str, documents: QuerySet[Document], found: int) -> str:
    rows = documents.order_by(Lower("filename"), "id")[:MOST_LISTED]
    lines = [f"- {literally(row.filename)} ({_about(language, row)})" for row in rows]
    if found > MOST_LISTED:
        lines.append(f"\n{_phrase(language, 'more', count=found - MOST_LISTED)}")
    return "\n".join(lines)


def _about(language: str, document: Document) -> str:
    facts = [labels.kind(document.content_type)]
    if document.page_count and document.page_count > 1 and document.page_kind == Document.PageKind.PAGE:
        facts.append(_phrase(language, "pages", count=document.page_count))
    return ", ".join(facts)


def _work(language: str, documents: QuerySet[Document]) -> str:
    working = documents.in_work()  # type: ignore[attr-defined]
    found = working.count()
    if not found:
        return _phrase(language, "all_done")
    return f"{_phrase(language, 'in_work', count=found)}\n\n{_listed(language, working, found)}"


def _counted(language: str, found: int, kind: str = "") -> str:
    number = ("none", "one")[found] if found < 2 else "many"
    return _phrase(language, f"{number}_of" if kind else number, count=found, kind=kind)


def literally(text: str) -> str:
    """A name that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _phrase(language: str, name: str, **values: object) -> str:
    phrases = _phrases()
    return phrases.get(language, phrases["en"])[name].format(**values).strip()


@cache
def _phrases() -> dict[str, dict[str, str]]:
    return tomllib.loads(PHRASES.read_text(encoding="utf-8"))
