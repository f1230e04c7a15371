"""What is asked."""

from dataclasses import dataclass

from chat.answers.followups import self_contained
from chat.engines.base import Turn
from documents.search import Scope


@dataclass(frozen=True)
class Question:
    """A question, where to look for its answer, and what was said before (oldest first)."""

    text: str
    scope: Scope
    history: tuple[Turn, ...] = ()
    instructions: str = ""
    language_model: str = ""
    style: str = ""
    rewritten: str = ""
    """By a language model, to be self-contained."""
    fresh: bool = False
    """Pass by the answers that are kept."""

    @property
    def query(self) -> str:
        """What is searched for: the question made self-contained."""
        return self.rewritten or self_contained(self.text, self.history)
