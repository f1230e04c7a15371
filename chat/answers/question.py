"""What is asked."""

import re
from dataclasses import dataclass

from chat.engines.base import Turn
from documents.search import Scope

SHORT_QUESTION = 60
_LEANS_ON_BEFORE = re.compile(
    r"^(and|but|so|what about|how about|why|und|aber|warum|wieso|et|mais|pourquoi|y|pero|e)\b"
    r"|\b(he|she|it|they|him|her|them|his|hers|its|their|theirs|this|that|these|those|there|then"
    r"|er|sie|ihn|ihm|ihr|ihre|ihren|sein|seine|dessen|deren|dieser|diese|dieses|dort|damals"
    r"|il|elle|ils|elles|lui|leur|leurs|cela|celui|ella|ellos|ellas|eso|esto)\b",
    re.IGNORECASE,
)
_SHORT_UNSPACED = re.compile(r"^(それ|そこ|その|彼|彼女|这|那|他|她|它)")


@dataclass(frozen=True)
class Question:
    """A question, where to look for its answer, and what was said before (oldest first)."""

    text: str
    scope: Scope
    history: tuple[Turn, ...] = ()
    instructions: str = ""
    language_model: str = ""
    style: str = ""

    @property
    def query(self) -> str:
        """What is searched for: with the question before, where this one is short and leans on it."""
        before = next((turn.content for turn in reversed(self.history) if turn.role == "user"), "")
        if before and len(self.text) <= SHORT_QUESTION and leans_on_before(self.text):
            return f"{before} {self.text}"
        return self.text


def leans_on_before(text: str) -> bool:
    """Whether a question cannot be understood alone: a simple rule of pronouns and beginnings."""
    text = text.strip()
    return bool(_LEANS_ON_BEFORE.search(text) or _SHORT_UNSPACED.search(text)) or len(text.split()) == 1 < len(text)
