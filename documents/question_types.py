"""What a question asks for, by the word that it asks with."""

import re

_ENGLISH = re.compile(r"\b(what|which|who|whom|whose|when|where|why|how)\b", re.IGNORECASE)
_SAME = {"whom": "who", "whose": "who"}
_JAPANESE = {
    "who": re.compile(r"誰|だれ"),
    "when": re.compile(r"いつ|何年|何月|何日|何世紀"),
    "where": re.compile(r"どこ|何処"),
    "why": re.compile(r"なぜ|何故|どうして"),
    "how": re.compile(r"どのよう|どうやって|いくつ|いくら|どれくらい|どのくらい|何人|何回|何歳"),
    "which": re.compile(r"どの|どちら|どれ"),
    "what": re.compile(r"何|なに|なん"),
}
"""In this order: 何年 asks when, not what."""
OTHER = "other"


def question_type(question: str) -> str:
    """``what``, ``who``, ``when``…; ``other`` where none of the words is there."""
    if found := _ENGLISH.search(question):
        word = found.group().lower()
        return _SAME.get(word, word)
    return next((name for name, words in _JAPANESE.items() if words.search(question)), OTHER)
