"""Answers and what they cite, for the pages."""

from urllib.parse import urlencode

from django import template
from django.urls import reverse

from chat.bodies import QUOTING_ENGINE
from chat.choices import Choice
from chat.models import Citation, Message
from documents.labels import duration

register = template.Library()


@register.filter
def source_url(citation: Citation) -> str:
    """The cited passage in the whole document; of an earlier version, the document that it is now."""
    if citation.earlier_version:
        return reverse("library-document", args=[citation.document_id])
    url = f"{reverse('library-document', args=[citation.document_id])}?{_place(citation)}"
    return f"{url}#page-{citation.page}" if citation.page else url


@register.filter
def passage_url(citation: Citation) -> str:
    """The cited passage for the pane beside the chat."""
    return f"{reverse('library-passage', args=[citation.document_id])}?{_place(citation)}"


def _place(citation: Citation) -> str:
    page = {"page": citation.page} if citation.page else {}
    return urlencode({"start": citation.start, "end": citation.end, **page})


@register.filter
def how(message: Message) -> str:
    """Who wrote the answer and how long it took: ``Quoted from your documents · 0.4 s``."""
    writer = "Quoted from your documents" if message.engine == QUOTING_ENGINE else message.model or message.engine
    seconds = duration(message.timings.get("total"))
    return " · ".join(filter(None, [writer, seconds, "from the cache" if message.cached else ""]))


@register.simple_tag
def new_scope_url(choice: Choice) -> str:
    """Where what a new conversation asks is chosen, with what is chosen so far."""
    pairs = [("collections", entry.id) for entry in choice.collections]
    pairs += [("documents", entry.id) for entry in choice.documents]
    return f"{reverse('chat-scope')}?{urlencode(pairs)}"
