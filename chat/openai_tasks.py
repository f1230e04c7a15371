"""What chat programs ask a model about a conversation, not about documents: its title, its tags, what to ask next.

Open WebUI sends such wishes to the model of the conversation, as one message that begins with ``### Task:``, names the
JSON that it wants and ends with the conversation. Searched for, each would cost an answer and be one that the program
cannot read.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from chat.services import title_from

_TASK = re.compile(r"^\s*### Task:")
_HISTORY = re.compile(r"<chat_history>(.*?)</chat_history>", re.DOTALL)
_WANTED = re.compile(r"\{\s*\"(title|tags|follow_ups|queries)\"\s*:")
_ASKED = re.compile(r"^USER: (.*?)(?=^(?:USER|ASSISTANT): |\Z)", re.DOTALL | re.MULTILINE)
GENERAL = ["General"]
"""What Open WebUI's wish for tags says is to stand where the conversation does not tell."""


def task_reply(messages: Sequence[dict[str, str]]) -> str | None:
    """The JSON that the program waits for; None for a question."""
    content = messages[-1]["content"] if messages and messages[-1]["role"] == "user" else ""
    history = _HISTORY.search(content) if _TASK.match(content) else None
    wanted = _WANTED.search(content) if history else None
    if not history or not wanted:
        return None
    asked = [question.strip() for question in _ASKED.findall(history[1])]
    return json.dumps({wanted[1]: _REPLIES[wanted[1]](asked)}, ensure_ascii=False)


_REPLIES: dict[str, Callable[[list[str]], Any]] = {
    "title": lambda asked: title_from(asked[0]) if asked else "",
    "tags": lambda asked: GENERAL,
    "follow_ups": lambda asked: [],
    "queries": lambda asked: asked[-1:],
}
