"""Accounts that use the site through its balancer while parts of it die, and remember what they were promised."""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from tests.torture.files import make_file, sentences
from tests.torture.people import EXPECTED, Over, Person

STREAM = {"Accept": "text/event-stream"}


@dataclass(frozen=True)
class Try:
    """One request as it was sent; ``failure`` is empty where it was answered as it should be."""

    began: float
    ended: float
    what: str
    failure: str = ""


@dataclass(frozen=True)
class Act:
    """What a visitor wanted, with all the tries that it took. Times are of the monotonic clock."""

    began: float
    ended: float
    what: str


class Visitor(Person):
    """A patient program: what failed is sent again with the same key, a stream that broke off is resumed."""

    def __init__(self, url: str, token: str, chance: random.Random, over: threading.Event) -> None:
        super().__init__(url, token, chance, over)
        self.tries: list[Try] = []
        self.acts: list[Act] = []
        self.done: dict[str, str] = {}
        """Answers that were said to be done, and what they said."""
        self.interrupted: set[str] = set()
        """Answers of which the reader was told that they were."""
        self.resumed = 0
        self.told_of_interruption = 0
        self.is_reading = False
        """A stream, at this moment."""

    def _act(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (20, self.upload),
            (3, self.delete),
            (15, self.search),
            (20, self.ask),
            (30, self.stream),
            (12, self.look_at_list),
        ]
        weights, acts = zip(*steps, strict=True)
        while not self.over.is_set():
            self._timed(self.chance.choices(acts, weights)[0])
            self.over.wait(self.chance.uniform(0.1, 0.7))

    def _timed(self, act: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            act()
        except Over:
            pass
        except Exception as error:
            self.wrong.append(f"a client failed: {error!r}")
        self.acts.append(Act(began, time.monotonic(), act.__name__))

    # --- Speaking with the site ---------------------------------------------------------------------------------------
    def _try(self, method: str, path: str, headers: dict[str, str], content: Any) -> httpx.Response | None:
        began = time.monotonic()
        answer = super()._try(method, path, headers, content)
        self._note(began, f"{method} {_kind(path)}", "no answer" if answer is None else self._failure(answer))
        return answer

    def _failure(self, answer: httpx.Response) -> str:
        """What the site or its balancer could not do: 409 and the like are answers, and so is the word that the answer
        of a request before was interrupted."""
        if answer.status_code < 500:
            return ""
        code = answer.json()["code"] if "json" in answer.headers.get("content-type", "") else "of the balancer"
        self.told_of_interruption += code == "interrupted"
        return "" if code == "interrupted" else f"{answer.status_code} {code}"

    def _note(self, began: float, what: str, failure: str) -> None:
        self.tries.append(Try(began, time.monotonic(), what, failure))

    # --- What people do -----------------------------------------------------------------------------------------------
    def upload(self) -> None:
        """A file that can be read: what becomes of hostile ones is not what is asked here."""
        file = make_file(self.chance)
        while not file.word:
            file = make_file(self.chance)
        self.send(file)

    def ask(self) -> None:
        answer = self._ask_somewhere()
        if answer.status_code == 201:
            self._promised(answer.json())

    def _promised(self, message: dict[str, Any]) -> None:
        self.ledger.answers.add(message["id"])
        if message["status"] == "complete":
            self.done[message["id"]] = message["content"]

    def stream(self) -> None:
        """Read an answer to its end, over as many connections as that takes."""
        path = f"/api/v1/conversations/{self._conversation()}/messages"
        asked = {"json": {"content": sentences(self.chance, 1)}, "headers": STREAM | {"Idempotency-Key": _key()}}
        message, last = "", 0
        for name, number, data in self._events("POST", path, asked):
            message, last = message or data.get("message", ""), number
            if self._is_the_end(name, data):
                return
        while message:
            self.resumed += 1
            again = {"headers": STREAM | {"Last-Event-ID": str(last)}}
            for name, number, data in self._events("GET", f"/api/v1/messages/{message}/events", again):
                if number != last + 1:
                    self.wrong.append(f"a resumed stream goes on with {number} after {last}")
                last = number
                if self._is_the_end(name, data):
                    return
            self._rest()

    def _is_the_end(self, name: str, data: dict[str, Any]) -> bool:
        if name == "done":
            self._promised(data["message"])
        elif name == "error" and data["code"] == "interrupted":
            self.interrupted.add(data["message"]["id"])
        elif name == "error" and data["code"] == "database_unavailable":
            self._note(time.monotonic(), "an answer", "ended with database_unavailable")
        elif name == "error":
            self.wrong.append(f"an answer ended with {data['code']}: {data['detail']}")
        return name in {"done", "error"}

    def _events(self, method: str, path: str, request: dict[str, Any]) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Until the connection ends, in order or not."""
        began, failure, ended = time.monotonic(), "", False
        try:
            with self.client.stream(method, path, **request) as answer:
                if answer.status_code != 200:
                    answer.read()
                failure = self._failure(answer)
                for event in _parsed(answer) if answer.status_code == 200 else ():
                    self.is_reading = True
                    yield event
                    ended = event[0] in {"done", "error"}
                if answer.status_code >= 500 and answer.status_code not in EXPECTED:
                    self.wrong.append(f"{method} {_kind(path)}: {answer.status_code}")
            failure = failure or ("" if ended or answer.status_code != 200 else "broke off")
        except httpx.HTTPError as error:
            failure = type(error).__name__
        finally:
            self.is_reading = False
            self._note(began, f"{method} {_kind(path)} (stream)", failure)

    def _rest(self) -> None:
        time.sleep(0.3)


def _parsed(answer: httpx.Response) -> Iterator[tuple[str, int, dict[str, Any]]]:
    name, number = "", 0
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            number = int(value)
        elif field == "data":
            yield name, number, json.loads(value)


def _key() -> str:
    return str(uuid.uuid4())


def _kind(path: str) -> str:
    """A path without ids and cursors."""
    parts = path.partition("?")[0].removeprefix("/api/v1/").split("/")
    return "/".join("…" if len(part) > 30 else part for part in parts)[-60:]
