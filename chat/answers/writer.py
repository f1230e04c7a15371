"""What an engine writes an answer to."""

import re
from contextlib import AbstractContextManager
from typing import Any

from chat.answers import events
from chat.answers.draft import Draft
from chat.answers.passages import Passage
from chat.answers.running import RunningAnswer
from chat.models import Citation
from chat.representations import citation_json
from documents.places import header_over

LONGEST_ANSWER = 200_000
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


class AnswerTooLong(Exception):
    """The engine does not come to an end."""


class Writer:
    """Turns what an engine writes into events, and keeps it in the draft. Raises Stopped when told to stop."""

    def __init__(self, answer: RunningAnswer, draft: Draft) -> None:
        self._answer = answer
        self._draft = draft
        self._pending = ""
        self._length = 0
        self.stop = answer.stop
        self.finish_reason = ""
        """What the model's server gave, as OpenAI calls it."""

    def write(self, text: str) -> None:
        """Take a piece of the answer; readers see it at the next flush."""
        self.stop.check()
        self._pending += text

    def flush(self) -> None:
        """Show what was written so far."""
        self.stop.check()
        self._show(keep_half=True)

    def together(self) -> AbstractContextManager[None]:
        """What is written in this block is shown at its end."""
        return self._answer.together()

    def finish(self) -> None:
        """Show the rest, also of an answer that was stopped."""
        self._show(keep_half=False)

    def _show(self, keep_half: bool) -> None:
        text, self._pending = self._pending, ""
        if keep_half and text and "\ud800" <= text[-1] <= "\udbff":  # the other half comes with the next piece
            text, self._pending = text[:-1], text[-1]
        text = storable(text)
        if not text:
            return
        if not self._draft.parts:
            self._draft.note_time("first_token")
            self._answer.emit(events.STATUS, {"message": str(self._answer.id), "stage": "writing"})
        self._draft.parts.append(text)
        self._answer.emit(events.TOKEN, {"text": text})
        self._length += len(text)
        if self._length > LONGEST_ANSWER:
            raise AnswerTooLong

    def cite(self, marker: int, passage: Passage, start: int, end: int, answer: tuple[int, int] | None = None) -> None:
        """Say where a marker of the answer points: a span of the passage, in the offsets of its document.

        So is ``answer``, where the quote holds what is likely asked for.
        """
        self._show(keep_half=True)  # a stop between the two would keep a quote that nothing cites
        hit = passage.hit
        quote = hit.text[start - hit.start : end - hit.start]
        citation = Citation(
            owner_id=self._answer.owner_id,
            message_id=self._answer.id,
            marker=marker,
            document_id=hit.document_id,
            filename=hit.filename,
            page=hit.page,
            page_kind=hit.page_kind,
            page_label=hit.page_label,
            headings=hit.path,
            table_header=header_over(quote, hit.kind, hit.table_header),
            start=start,
            end=end,
            answer_start=answer[0] if answer else None,
            answer_end=answer[1] if answer else None,
            quote=quote,
            verified=True,  # the database gave the text a moment ago; it is checked again when stored
        )
        self._draft.citations.append(citation)
        self._answer.emit(events.CITATION, {"citation": citation_json(citation)})

    def waited_for_model(self, seconds: float) -> None:
        """For its first token."""
        self._draft.model_seconds += seconds

    def cite_again(self, citation: Citation) -> None:
        """A citation of an answer that was given before."""
        self._show(keep_half=True)
        citation.owner_id, citation.message_id = self._answer.owner_id, self._answer.id
        self._draft.citations.append(citation)
        self._answer.emit(events.CITATION, {"citation": citation_json(citation)})

    def count_tokens(self, prompt: int, completion: int) -> None:
        self._draft.prompt_tokens, self._draft.completion_tokens = prompt, completion
        self._draft.finish_reason = self.finish_reason

    @property
    def owner_id(self) -> int:
        """Of the answer, and of all that it may rest on."""
        return self._answer.owner_id

    @property
    def text(self) -> str:
        """What readers have seen so far."""
        return self._draft.text

    def support(self, support: dict[str, Any] | None) -> None:
        """How many of the answer's claims its passages support, as ``chat.engines.support`` gives it."""
        self._draft.support = support
        self._draft.note_time("support")


def storable(text: str) -> str:
    """The text as PostgreSQL takes it: no NUL; halves of surrogate pairs joined, or replaced where one is missing."""
    text = text.replace("\0", "")
    if _LONE_SURROGATES.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
