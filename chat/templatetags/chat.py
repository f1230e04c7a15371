"""Answers and what they cite, for the pages."""

from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import reverse

from chat.bodies import QUOTING_ENGINE
from chat.choices import Choice
from chat.engines import pickable_models
from chat.models import Citation, Message
from documents.labels import duration

register = template.Library()
STYLES = [("", "Usual answer"), ("short", "Short"), ("full", "Full"), ("quotes", "Quotes only")]


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
    return " · ".join(filter(None, [writer, seconds, _tokens(message)]))


def _tokens(message: Message) -> str:
    if message.prompt_tokens is None:
        return ""
    return f"{message.prompt_tokens:,} + {message.completion_tokens or 0:,} tokens"


@register.filter
def support_words(message: Message) -> str:
    """How far the answer stands in its sources; empty where that was not judged."""
    if not message.support:
        return ""
    claims, supported = message.support["claims"], message.support["supported"]
    if claims == 1:
        return f"The statement was {'' if supported else 'not '}found in its source"
    counted = f"All {claims}" if supported == claims else f"{supported} of {claims}"
    return f"{counted} statements found in their sources"


@register.simple_tag
def language_models() -> list[dict[str, Any]]:
    """What can be picked; empty where there is nothing to pick."""
    offered = pickable_models()
    return offered if len(offered) > 1 else []


@register.simple_tag
def styles() -> list[tuple[str, str]]:
    return STYLES


@register.simple_tag
def new_scope_url(choice: Choice) -> str:
    """Where what a new conversation asks is chosen, with what is chosen so far."""
    pairs = [("collections", entry.id) for entry in choice.collections]
    pairs += [("documents", entry.id) for entry in choice.documents]
    return f"{reverse('chat-scope')}?{urlencode(pairs)}"
