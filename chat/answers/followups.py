"""A follow-up ("and in 2019?", "why did they?") made self-contained by rules, before it is searched for.

What is short and leans on the question before is either elliptic: then its time, number or name takes the place of the
one in that question. Or it speaks of what was named before: then that question is searched for too.
``tests/quality/follow_ups.jsonl`` measures it (docs/quality.md).
"""

import re
from collections.abc import Sequence

from chat.engines.base import Turn

SHORT_QUESTION = 120
QUESTIONS_BACK = 3
"""A chain of follow-ups is resolved from so many questions ago."""
LONGEST_CONTEXT = 300
_CONJUNCTION = (
    r"and|but|so|what about|how about|und|aber|was ist mit|wie ist es mit|et|mais|qu[’']en est-il de|y|pero|qué hay de"
    r"|¿?y|e|ma|en|maar"
)
_ELLIPTIC = re.compile(rf"^\W*(?:{_CONJUNCTION})\b[\s,]+(?P<rest>.+?)[\s?？.!]*$", re.IGNORECASE)
_ELLIPTIC_UNSPACED = re.compile(
    r"^(?:では、?|じゃあ、?|那么?，?)?(?P<rest>.{1,20}?)(?:は(?:どう(?:ですか)?)?|呢|怎么样|についても?は?)[?？。]*$"
)
_MOST_ELLIPTIC_WORDS = 6
_VERB = re.compile(
    r"\b(?:is|are|was|were|did|do|does|has|have|had|can|could|will|would|should|who|what|when|where|why|how|which|ist|sind"
    r"|war|hat|haben|wurde|wer|was|wann|wo|warum|wie|est|sont|était|a|ont|qui|quand|où|pourquoi|comment|es|son|fue|era"
    r"|quién|cuándo|dónde|cómo)\b",
    re.IGNORECASE,
)
_LEANS = re.compile(
    r"^\W*(?:and|but|so|what about|how about|why|und|aber|warum|wieso|et|mais|pourquoi|y|pero|por qué|e|ma|perché)\b"
    r"|\b(?:he|she|it|they|him|her|them|his|hers|its|their|theirs|this|these|those"
    r"|er|sie|ihn|ihm|ihr|ihre|ihren|sein|seine|dessen|deren|dieser|diese|dieses|dort|damals"
    r"|elle|ils|elles|lui|leur|leurs|cela|celui|ella|ellos|ellas|eso|esto|su|sus)\b"
    r"|\b(?:that|there|then|il)\W*$|^(?:is|was|did|does|how|what|why|when) that\b",
    re.IGNORECASE,
)
_LEANS_UNSPACED = re.compile(r"(?:それ|そこ|その|この|彼女|彼|これ)|^(?:这|那|他|她|它)")
_KINDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bQ[1-4](?:[ /-]\d{4})?\b|\b(?:first|second|third|fourth) quarter(?: of \d{4})?|\d{4}年(?:\d{1,2}月)?",
        r"\b(?:1\d|20)\d{2}s?\b",
        r"\b\d+(?:[.,]\d+)*\b",
    )
)
_SHORTEST_NAME = 3
_POSSESSIVE = re.compile(r"[’']s?$")
_NAME = re.compile(r"(?<![\w-])[^\W\d_a-zа-яα-ωß-öø-ÿ][\w’-]*(?:\s[^\W\d_a-zа-яα-ωß-öø-ÿ][\w’-]*)*")


def self_contained(text: str, history: Sequence[Turn]) -> str:
    """The question as it is searched for; itself where it does not lean on the conversation (oldest turn first)."""
    asked = [turn.content.strip() for turn in history if turn.role == "user"][-QUESTIONS_BACK:]
    before = ""
    for question in (*asked, text):
        before = _resolved(question, before)
    return before


def _resolved(question: str, before: str) -> str:
    if not before or not leans_on_before(question):
        return question
    rest = elliptic_rest(question)
    return (rest and _substituted(before, rest)) or f"{before[:LONGEST_CONTEXT]} {question}"


def leans_on_before(text: str) -> bool:
    """Whether a question cannot be understood alone: a simple rule of pronouns, beginnings and length."""
    text = text.strip()
    if len(text) > SHORT_QUESTION:
        return False
    return bool(_LEANS.search(text) or _LEANS_UNSPACED.search(text) or elliptic_rest(text)) or (
        len(text.split()) == 1 < len(text)
    )


def elliptic_rest(text: str) -> str:
    """What is left of a question that only exchanges something of the one before; empty where it is a whole one."""
    match = _ELLIPTIC.match(text) or _ELLIPTIC_UNSPACED.match(text)
    rest = match["rest"].strip() if match else ""
    return "" if len(rest.split()) > _MOST_ELLIPTIC_WORDS or _VERB.search(rest) else rest


def _substituted(before: str, rest: str) -> str:
    """The question before with its time, number or name exchanged; empty where it has none of the kind."""
    for kind in _KINDS:
        new = kind.search(rest)
        if new:
            old = list(kind.finditer(before))
            return _exchanged(before, [old[-1].span()], new.group()) if old else ""
    new = _NAME.search(rest)
    if not new:
        return ""
    old_name = _main_name(before)
    return (
        _exchanged(before, [m.span() for m in re.finditer(re.escape(old_name), before)], new.group())
        if old_name
        else ""
    )


def _main_name(question: str) -> str:
    """The name that the question is about: the longest one behind its first word, else that word."""
    first, _, rest = question.partition(" ")
    names = [match.group() for match in _NAME.finditer(rest)] or [first]
    owners = [name for name in names if _POSSESSIVE.search(name)]
    bare = [_POSSESSIVE.sub("", name) for name in owners or names]
    return max((name for name in bare if len(name) >= _SHORTEST_NAME), key=len, default="")


def _exchanged(text: str, spans: Sequence[tuple[int, int]], new: str) -> str:
    for start, end in reversed(spans):
        text = text[:start] + new + text[end:]
    return text
