"""Answers as HTML. What a model or a document says is never trusted: no HTML, no pictures, nh3 has the last word.

Nothing in an answer leads out of the site: an address is shown as text to be copied, because a document may have told
the model to write a link that carries away what the others say.
"""

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

_TEXT_TAGS = {"p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a", "span", "mark"}
_TAGS = _TEXT_TAGS | {"h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}
_ATTRIBUTES = {"a": {"href", "aria-label", "data-cite"}, "ol": {"start"}, "span": {"title"}}
_MARKER_AS_LINK = re.compile(r"(\[\d{1,3}\])(?=\()")
_DOUBT = "\ue000"
"""Stands in the answer's text where a claim ends that its source does not support; a private character of Unicode."""
_DOUBT_HTML = '<span class="doubt" title="{title}">{words}</span>'
_DOUBTS = {
    "not_in_source": ("not in its source", "The cited passage does not seem to say this."),
    "no_source": ("no source", "No passage was found that says this."),
}


def answer_html(message: Message, content: str) -> SafeString:
    """The answer with each marker that has a citation linked to it."""
    markers = {citation.marker for citation in message.citations.all()}
    env = {"message": str(message.id), "markers": markers, "answers": _likely_answers(message)}
    html = _quotes_html(content, env) if message.engine == QUOTING_ENGINE else _written_html(message, content, env)
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes={"a": {"cite"}, "span": {"doubt"}, "code": {"address"}},
        attribute_filter=_only_own_addresses,
        url_schemes=set(),
        link_rel=None,
    )
    return mark_safe(clean)  # noqa: S308  (sanitised on the line above)


def _only_own_addresses(_tag: str, name: str, value: str) -> str | None:
    """A link leads to a citation on this page, or nowhere."""
    return value if name != "href" or value.startswith("#citation-") else None


def _written_html(message: Message, content: str, env: dict[str, Any]) -> str:
    """A model's Markdown, with a word behind each claim that its source does not support."""
    doubted = (message.support or {}).get("unsupported", [])
    pieces, place = [], 0
    for claim in sorted(doubted, key=lambda claim: int(claim["end"])):
        pieces += [content[place : claim["end"]].replace(_DOUBT, ""), _DOUBT]
        place = claim["end"]
    marked = "".join([*pieces, content[place:].replace(_DOUBT, "")])
    html = _markdown.render(_MARKER_AS_LINK.sub(r"\1\\", marked), env)
    for claim in sorted(doubted, key=lambda claim: int(claim["end"])):
        words, title = _DOUBTS.get(claim["reason"], _DOUBTS["not_in_source"])
        html = html.replace(_DOUBT, _DOUBT_HTML.format(title=title, words=words), 1)
    return html.replace(_DOUBT, "")


def _quotes_html(content: str, env: dict[str, Any]) -> str:
    """Quotes are the documents' own characters: a star in them is a star, not Markdown."""
    paragraphs = re.split(r"\n{2,}", content.strip())
    return "".join(f"<p>{_linked(paragraph, env)}</p>" for paragraph in paragraphs)


def _likely_answers(message: Message) -> list[tuple[str, int, int]]:
    """The quotes with a likely answer in them, and where in the quote it is."""
    return [
        (citation.quote, citation.answer_start - citation.start, citation.answer_end - citation.start)
        for citation in message.citations.all()
        if citation.quote and citation.answer_start is not None and citation.answer_end is not None
    ]


def _linked(text: str, env: dict[str, Any]) -> str:
    return "".join(
        _link_html(int(part), env) if is_marker else _marked(part, env["answers"])
        for part, is_marker in _split_at_markers(text, env["markers"])
    )


def _marked(text: str, answers: list[tuple[str, int, int]]) -> str:
    """The text as HTML, with the likely answer marked where the text holds its quote."""
    for quote, start, end in answers:
        before, found, after = text.partition(quote)
        if found:
            return (
                f"{escape(before + quote[:start])}<mark>{escape(quote[start:end])}</mark>{escape(quote[end:] + after)}"
            )
    return escape(text)


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


def _address_of(token: Token, name: str) -> str:
    address = str(token.attrs.get(name, ""))
    return f' <code class="address">{escape(address)}</code>' if address else ""


def _picture_as_text(tokens: list[Token], index: int, _options: Any, _env: Any) -> str:
    """A picture from elsewhere would tell its server who reads the answer, and whatever its address holds."""
    return escape(tokens[index].content) + _address_of(tokens[index], "src")


def _link_opens(tokens: list[Token], index: int, _options: Any, env: Any) -> str:
    """Only our own markers are links."""
    attributes = tokens[index].attrs
    if "data-cite" in attributes:
        pairs = " ".join(f'{name}="{escape(str(value))}"' for name, value in attributes.items())
        return f"<a {pairs}>"
    env.setdefault("addresses", []).append(_address_of(tokens[index], "href"))
    return ""


def _link_closes(tokens: list[Token], index: int, _options: Any, env: Any) -> str:
    """Its address stands behind what was to be clicked on, unless it is just that."""
    is_marker = index >= 2 and "data-cite" in tokens[index - 2].attrs
    if is_marker:
        return "</a>"
    return env["addresses"].pop() if env.get("addresses") else ""


_markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("reference")
_markdown.core.ruler.push("citation_markers", _link_markers)
_markdown.renderer.rules["image"] = _picture_as_text  # type: ignore[attr-defined]
_markdown.renderer.rules["link_open"] = _link_opens  # type: ignore[attr-defined]
_markdown.renderer.rules["link_close"] = _link_closes  # type: ignore[attr-defined]
