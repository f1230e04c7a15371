"""Telling a greeting, a question about the library or a wish for a summary from a question to the documents.

Only whole, short sentences of ``sentences.toml`` count; anything else is searched for as ever. English,
German, French, Spanish, Japanese and Chinese are known; a wish in another language is searched for like any question.
"""

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import count
from pathlib import Path

SENTENCES = Path(__file__).with_name("sentences.toml")
LONGEST = 200
_MARKS = " ?!.,;:？！。、…¿¡"
_QUOTES = " \"'“”„«»「」『』‘’"


class Kind(StrEnum):
    GREETING = "greeting"
    THANKS = "thanks"
    ABILITIES = "abilities"
    LIST = "list"
    COUNT = "count"
    IN_WORK = "in_work"
    ABOUT = "about"
    SUMMARY = "summary"
    COMPARISON = "comparison"


@dataclass(frozen=True)
class Intent:
    """``names`` are what the sentence calls documents by, ``file_type`` a kind of file (``pdf``)."""

    kind: Kind
    language: str
    names: tuple[str, ...] = ()
    file_type: str = ""


def recognised(text: str) -> Intent | None:
    """What the sentence wishes, where all of it is one of the known sentences."""
    sentence = " ".join(text.split()).strip(_MARKS)
    if not 0 < len(sentence) <= LONGEST:
        return None
    for kind, language, pattern in _sentences():
        match = pattern.fullmatch(sentence)
        if match:
            given = {name.rstrip("0123456789"): value for name, value in match.groupdict().items() if value}
            names = tuple(given[name].strip(_QUOTES) for name in ("name", "a", "b") if name in given)
            return Intent(kind, language, names, given.get("type", "").lower())
    return None


@cache
def _sentences() -> tuple[tuple[Kind, str, re.Pattern[str]], ...]:
    known = tomllib.loads(SENTENCES.read_text(encoding="utf-8"))
    words = known.pop("words")
    return tuple(
        (Kind(kind), language, _compiled(pattern, {**words, **patterns}))
        for language, patterns in known.items()
        for kind, pattern in patterns.items()
        if kind in set(Kind)
    )


def _compiled(pattern: str, words: dict[str, str]) -> re.Pattern[str]:
    """With the words in place of their names, and a number behind each group's name: a name may stand there once."""
    for _ in range(2):  # words may hold words
        for name, expression in words.items():
            pattern = pattern.replace(f"{{{name}}}", expression)
    numbers = count()
    pattern = re.sub(r"\(\?P<([a-z]+)>", lambda group: f"(?P<{group[1]}{next(numbers)}>", pattern)
    return re.compile(pattern, re.IGNORECASE)
