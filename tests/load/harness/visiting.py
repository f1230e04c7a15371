"""What a visitor does: reads, asks, uploads, vanishes. Knows the transport by its interface alone."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests.load.harness.profiles import Conversations
from tests.load.harness.questions import Asked
from tests.load.harness.samples import Sample
from tests.load.harness.systems.base import Event, Refused, Session, Transport
from tests.load.harness.systems.ragsite import RagsiteSession, events

READS = {
    "list documents": 18,
    "search documents by name": 4,
    "document": 14,
    "document's chunks": 5,
    "search": 15,
    "list conversations": 12,
    "conversation": 10,
    "page: chat": 6,
    "page: library": 8,
    "page: conversation": 5,
    "page: document": 3,
}
"""What a visitor reads, and how often, in per cent."""
PAGE_SIZE = 25
PATIENCE = 60.0
LOOK_EVERY = 0.5
BACK_AFTER = (0.2, 2.0)
"""Seconds until a reader who vanished comes back."""
Record = Callable[[Sample], None]
Sleep = Callable[[float], object]
Stepping = Callable[[], Iterator[Event]]


@dataclass
class Visitor:
    """One account's use of the site, for as long as the load lasts."""

    session: Session
    transport: Transport
    asked: Asked
    chooser: random.Random
    record: Record
    manners: Conversations
    files: Sequence[str]
    turns_of_files: "count[int]"
    account: str = ""
    fresh_always: bool = False
    sleep: Sleep = time.sleep
    model_seconds: float = 2.0
    conversation: Any = None
    turns: int = 0
    answer_name: str = "answer"

    def __post_init__(self) -> None:
        long = self.chooser.random() < self.manners.long_visitors
        self.most_turns = self.manners.longest_of_all if long else self.manners.longest
        self.follow_up = 1.0 if long else self.manners.follow_up
        self.known: dict[str, list[str]] = {"documents": [], "conversations": []}

    # --- asking

    def ask(self) -> None:
        self._choose_conversation()
        streamed = self.chooser.random() < self.manners.streamed
        if self.conversation is not None:
            self._ask(self.asked.draw(), streamed)

    def _choose_conversation(self) -> None:
        goes_on = self.turns < self.most_turns and self.chooser.random() < self.follow_up
        if self.conversation is None or not goes_on:
            self.conversation, self.turns = self._timed("begin conversation", self._begin), 0

    def _begin(self) -> Any:
        return self.session.begin(self.transport)

    def _ask(self, question: str, streamed: bool) -> None:
        self.turns += 1
        name = self.answer_name if streamed else f"{self.answer_name}, not streamed"

        def answer() -> Iterator[Event]:
            return self.session.ask(
                self.transport, self.conversation, question, streamed=streamed, fresh=self.fresh_always
            )

        if not self._follow(name, answer):
            self.conversation = None  # an answer may still be running in it

    def _follow(self, name: str, answer: Stepping) -> bool:
        """Read an answer to its end and record it; whether it came."""
        began, started = time.time(), time.perf_counter()
        first = first_token = None
        error, extra = "", {}
        try:
            for event in answer():
                elapsed = time.perf_counter() - started
                first = first or elapsed
                if event.name == "token":
                    first_token = first_token or elapsed
                elif event.name == "done":
                    extra = {"cached": event.cached, "by_model": event.by_model, "timings": event.timings}
        except Exception as failure:
            error = kind_of(failure)
        whole = time.perf_counter() - started
        if first_token is not None:
            extra["first_token"] = first_token
        self.record(Sample(name, began, whole, first, error, extra))
        return not error

    # --- vanishing

    def vanish(self) -> None:
        """Hang up after a few frames; half of the readers come back to where they were, half never."""
        session = self.session
        assert isinstance(session, RagsiteSession)
        conversation = self._timed("begin conversation", self._begin)
        if conversation is None:
            return
        seen = self._timed("leave in the middle", lambda: self._leave(session, conversation))
        if seen is None:
            return
        message, last = seen
        if self.chooser.random() < 0.5:
            self.sleep(self.chooser.uniform(*BACK_AFTER))
            self._follow("come back", lambda: self._resumed(session, message, last))
        else:
            self._timed("answer of one who left", lambda: self._becomes_whole(session, message))

    def _leave(self, session: RagsiteSession, conversation: Any) -> tuple[str, int] | None:
        """The answer's id and the number of the last event that was read; None if the answer was over before."""
        tokens, enough, message = 0, self.chooser.randint(1, 8), ""
        reply = session.opened(self.transport, conversation, self.asked.draw(), fresh=self.fresh_always)
        for event in events(reply):
            message = message or event.message
            tokens += event.name == "token"
            if tokens >= enough and event.name != "done":
                reply.abandon()
                return message, int(event.number)
        return None

    def _resumed(self, session: RagsiteSession, message: str, last: int) -> Iterator[Event]:
        expected = last + 1
        for event in session.resume(self.transport, message, str(last)):
            if int(event.number) != expected:
                raise Refused("gap in a resumed stream", f"{event.number} instead of {expected}")
            expected += 1
            yield event

    def _becomes_whole(self, session: RagsiteSession, message: str) -> bool:
        """Looked at until it is complete: nobody reads it, and it must be written all the same."""
        deadline = time.monotonic() + self.model_seconds + PATIENCE
        while (status := session.get(self.transport, f"/api/v1/messages/{message}")["status"]) != "complete":
            if status == "failed" or time.monotonic() > deadline:
                raise Refused(f"answer {status}", "after its reader had left")
            self.sleep(LOOK_EVERY)
        return True

    # --- uploading

    def upload(self) -> None:
        path = Path(self.files[next(self.turns_of_files) % len(self.files)])
        data = path.read_bytes()
        began, started = time.time(), time.perf_counter()
        error, extra = "", {"bytes": len(data), "account": self.account}
        try:
            extra["document"] = self.session.upload(self.transport, path.name, data)
        except Exception as failure:
            error = kind_of(failure)
        self.record(Sample("upload", began, time.perf_counter() - started, None, error, extra))

    # --- reading

    def browse(self) -> None:
        name = self.chooser.choices(list(READS), list(READS.values()))[0]
        assert isinstance(self.session, RagsiteSession)
        getattr(self, "_" + name.replace("'s", "").replace(": ", "_").replace(" ", "_"))(name)

    def _list_documents(self, name: str) -> None:
        ordering = self.chooser.choice(("-uploaded_at", "filename", "-size"))
        self._list(name, "documents", f"/api/v1/documents?page_size={PAGE_SIZE}&ordering={ordering}")

    def _search_documents_by_name(self, name: str) -> None:
        word = self.chooser.choice(("report", "notes", "budget", "review", "plan"))
        self._list(name, "documents", f"/api/v1/documents?page_size={PAGE_SIZE}&search={word}", keep=False)

    def _list_conversations(self, name: str) -> None:
        self._list(name, "conversations", f"/api/v1/conversations?page_size={PAGE_SIZE}")

    def _list(self, name: str, kind: str, path: str, keep: bool = True) -> None:
        found = self._timed(name, lambda: self._got(path))
        if found and keep:
            self.known[kind] = [entry["id"] for entry in found["results"]] or self.known[kind]

    def _document(self, name: str) -> None:
        self._one(name, "documents", "/api/v1/documents/{}")

    def _document_chunks(self, name: str) -> None:
        self._one(name, "documents", "/api/v1/documents/{}/chunks?page_size=20")

    def _conversation(self, name: str) -> None:
        self._one(name, "conversations", "/api/v1/conversations/{}")

    def _one(self, name: str, kind: str, path: str) -> None:
        if identifier := self._any(kind):
            self._timed(name, lambda: self._got(path.format(identifier)))

    def _any(self, kind: str) -> str:
        """The id of one that the visitor has seen in a list; without any, the list is read first."""
        if not self.known[kind]:
            getattr(self, f"_list_{kind}")(f"list {kind}")
        return self.chooser.choice(self.known[kind]) if self.known[kind] else ""

    def _search(self, name: str) -> None:
        body = {"query": self.asked.draw(), "limit": 10}
        self._timed(name, lambda: self._ours.post(self.transport, "/api/v1/search", body))

    def _page_chat(self, name: str) -> None:
        self._timed(name, lambda: self._ours.page(self.transport, "/"))

    def _page_library(self, name: str) -> None:
        self._timed(name, lambda: self._ours.page(self.transport, "/library/"))

    def _page_conversation(self, name: str) -> None:
        if identifier := self._any("conversations"):
            self._timed(name, lambda: self._ours.page(self.transport, f"/chat/{identifier}/"))

    def _page_document(self, name: str) -> None:
        if identifier := self._any("documents"):
            self._timed(name, lambda: self._ours.page(self.transport, f"/library/{identifier}/"))

    @property
    def _ours(self) -> RagsiteSession:
        assert isinstance(self.session, RagsiteSession)
        return self.session

    def _got(self, path: str) -> Any:
        return self._ours.read_again(self.transport, path)

    def _timed(self, name: str, action: Callable[[], Any]) -> Any:
        """The result, recorded; None when it failed."""
        began, started = time.time(), time.perf_counter()
        result, error = None, ""
        try:
            result = action()
        except Exception as failure:
            error = kind_of(failure)
        whole = time.perf_counter() - started
        extra = {"not_modified": self._ours.not_modified} if name in READS and not error else {}
        self.record(Sample(name, began, whole, None, error, extra))
        return result


def kind_of(failure: Exception) -> str:
    """What errors are counted by."""
    return failure.kind if isinstance(failure, Refused) else f"{type(failure).__name__}: {failure}"[:80]
