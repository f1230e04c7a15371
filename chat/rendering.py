"""Answers as HTML. What a model or a document says is never trusted: no HTML, no pictures, nh3 has the last word."""

import re
from collections.abc import Collection, Iterator
from typing import Any

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from chat.bodies import QUOTING_ENGINE
from chat.engines.markers import MARKER
from chat.models import Message

_TEXT_TAGS = {"p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"}
_TAGS = _TEXT_TAGS | {"h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}
_ATTRIBUTES = {"a": {"href", "aria-label", "data-cite"}, "ol": {"start"}}


def answer_html(message: Message, content: str) -> SafeString:
    """The answer with each marker that has a citation linked to it."""
    markers = {citation.marker for citation in message.citations.all()}
    env = {"message": str(message.id), "markers": markers}
    html = _quotes_html(content, env) if message.engine == QUOTING_ENGINE else _markdown.render(content, env)
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes={"a": {"cite"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return mark_safe(clean)  # noqa: S308  (sanitised on the line above)


def _quotes_html(content: str, env: dict[str, Any]) -> str:
    """Quotes are the documents' own characters: a star in them is a star, not Markdown."""
    paragraphs = re.split(r"\n{2,}", content.strip())
    return "".join(f"<p>{_linked(paragraph, env)}</p>" for paragraph in paragraphs)


def _linked(text: str, env: dict[str, Any]) -> str:
    return "".join(
        _link_html(int(part), env) if is_marker else escape(part)
        for part, is_marker in _split_at_markers(text, env["markers"])
    )


def _link_html(marker: int, env: dict[str, Any]) -> str:
    attributes = " ".join(f'{name}="{value}"' for name, value in _link_attributes(marker, env).items())
    return f"<a {attributes}>{marker}</a>"


def _link_attributes(marker: int, env: dict[str, Any]) -> dict[str, str | int | float]:
    target = f"citation-{env['message']}-{marker}"
    return {"href": f"#{target}", "class": "cite", "data-cite": target, "aria-label": f"Source {marker}"}


def _split_at_markers(text: str, markers: Collection[int]) -> Iterator[tuple[str, bool]]:
    """The pieces of the text, and whether each is the number of a known marker; ``[1, 2]`` are two."""
    place = 0
    for match in MARKER.finditer(text):
        known = [number for number in re.findall(r"\d+", match[1]) if int(number) in markers]
        if known:
            yield text[place : match.start()].removesuffix(" "), False
            yield from ((number, True) for number in known)
            place = match.end()
    yield text[place:], False


def _link_markers(state: StateCore) -> None:
    """A rule of markdown-it: markers in running text become links, those in code stay as they are."""
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = [made for child in token.children for made in _tokens(child, state.env)]


def _tokens(child: Token, env: Any) -> Iterator[Token]:
    if child.type != "text":
        yield child
        return
    for part, is_marker in _split_at_markers(child.content, env["markers"]):
        if is_marker:
            yield Token("link_open", "a", 1, attrs=_link_attributes(int(part), env))
        if part:
            yield Token("text", "", 0, content=part)
        if is_marker:
            yield Token("link_close", "a", -1)


def _picture_as_link(tokens: list[Token], index: int, _options: Any, _env: Any) -> str:
    """A picture from elsewhere would tell its server who reads the answer, so it is only a link."""
    source = str(tokens[index].attrs.get("src", ""))
    return f'<a href="{escape(source)}">{escape(tokens[index].content or source)}</a>'


_markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_markdown.core.ruler.push("citation_markers", _link_markers)
_markdown.renderer.rules["image"] = _picture_as_link  # type: ignore[attr-defined]
