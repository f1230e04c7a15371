"""Text of documents as a model may see it: without what models take for more than text."""

import re

_INVISIBLE = re.compile(
    "[\U000e0000-\U000e0fff"  # tags and further variation selectors: whole sentences can be hidden in them
    "\ufe00-\ufe0f\u200b\u2060-\u206f\ufeff\u00ad"  # of no width
    "\u202a-\u202e\u200e\u200f]"  # turn the direction of what follows
)
_ROLE_TOKEN = re.compile(
    r"<(?=\|[^|<>\n]{1,60}\|>)"  # <|im_start|>, <|eot_id|>, <|start_header_id|>
    r"|<(?=｜[^｜<>\n]{1,60}｜>)"
    r"|<(?=/?(?:s|bos|eos|start_of_turn|end_of_turn|think|tool_?calls?|tool_?response|function_?calls?|system)>)"
    r"|<(?=<\s*/?SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)
_MARKER = re.compile(r"[\[【](\s*\^?\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*\s*)[\]】]")


def neutral(text: str) -> str:
    """The text without invisible characters, its role tokens broken up and its numbers in brackets in parentheses.

    Servers put the prompt through a template and read role tokens wherever they stand. Numbers in brackets would be
    taken for passages' numbers, by the model and by us.
    """
    visible = _INVISIBLE.sub("", text)
    return _MARKER.sub(r"(\1)", _ROLE_TOKEN.sub(lambda found: f"{found[0]} ", visible))
