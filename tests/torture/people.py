"""Accounts that put files in, take them out and ask, as patient programs do: what failed on the way is sent again."""

import random
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.torture.files import File, make_file, sentences

PATIENCE_SECONDS = 400
"""Longer than an idempotency key is kept busy by a request whose process is gone."""
PASSING = {429, 502, 503, 504}
EXPECTED = {200, 201, 202, 204, 404, 409, 413, 415, 422, *PASSING}


@dataclass
class Ledger:
    """What one account was promised."""

    documents: dict[str, File] = field(default_factory=dict)
    """Accepted and not deleted since, by id."""
    deleted: dict[str, File] = field(default_factory=dict)
    answers: set[str] = field(default_factory=set)
    """Ids of answers that were begun."""
    doubtful: list[str] = field(default_factory=list)
    """Names of files whose upload was never answered: they may be there or not."""


class Over(Exception):
    """The run has ended, or patience has."""


class Person:
    """One account, acting in a thread of its own. What must never happen is written to ``wrong``."""

    def __init__(self, url: str, token: str, chance: random.Random, over: threading.Event) -> None:
        self.thread = threading.Thread(target=self._act, daemon=True)
        self.url = url
        self.token = token
        self.chance = chance
        self.over = over
        self.ledger = Ledger()
        self.wrong: list[str] = []
        self.answers: Counter[str] = Counter()
        """How often each kind of answer came, the lost ones too."""
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )
        self.conversations: list[str] = []

    def _act(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (34, self.upload),
            (4, self.upload_again),
            (5, self.replace),
            (4, self.break_off),
            (14, self.delete),
            (8, self.reprocess),
            (5, self.rename),
            (10, self.search),
            (8, self.ask),
            (6, self.stream),
            (5, self.look_at_page),
            (6, self.look_at_list),
        ]
        weights, acts = zip(*steps, strict=True)
        while not self.over.is_set():
            try:
                self.chance.choices(acts, weights)[0]()
            except Over:
                pass
            except Exception as error:
                self.wrong.append(f"a client failed: {error!r}")
            self.over.wait(self.chance.uniform(0, 0.6))

    # --- Speaking with the site ---------------------------------------------------------------------------------------
    def call(self, method: str, path: str, *, key: str = "", **content: Any) -> httpx.Response:
        """Send until an answer comes. Raises Over when none does."""
        headers = {"Idempotency-Key": key} if key else {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self._try(method, path, headers, content)
            if answer is not None and not _is_passing(answer):
                return answer
            time.sleep(0.5)
        self.wrong.append(f"{method} {path} had no answer in {PATIENCE_SECONDS} s")
        raise Over

    def _try(self, method: str, path: str, headers: dict[str, str], content: Any) -> httpx.Response | None:
        try:
            answer = self.client.request(method, path, headers=headers, **content)
        except httpx.HTTPError as error:
            self.answers[type(error).__name__] += 1
            return None
        self.answers[str(answer.status_code)] += 1
        if answer.status_code not in EXPECTED:
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            return None if answer.status_code >= 500 else answer
        return answer

    def any_document(self) -> str | None:
        return self.chance.choice(list(self.ledger.documents)) if self.ledger.documents else None

    # --- What people do -----------------------------------------------------------------------------------------------
    def upload(self) -> None:
        self.send(make_file(self.chance))

    def upload_again(self) -> None:
        """The same content: the document that is there."""
        if document := self.any_document():
            file = self.ledger.documents[document]
            if (found := self.send(file)) not in {document, None}:
                self.wrong.append(f"{file.name} is two documents: {document} and {found}")

    def send(self, file: File) -> str | None:
        key = str(uuid.uuid4())
        self.ledger.doubtful.append(file.name)
        answer = self.call("POST", "/api/v1/documents", key=key, files={"file": (file.name, file.content)})
        self.ledger.doubtful.remove(file.name)
        if answer.status_code not in {200, 201}:
            return None
        document: str = answer.json()["id"]
        self.ledger.documents[document] = file
        return document

    def replace(self) -> None:
        """A new version under the same name, then the old one goes."""
        if document := self.any_document():
            old, new = self.ledger.documents[document], make_file(self.chance)
            if self.send(File(old.name, new.content, new.word)):
                self.remove(document)

    def break_off(self) -> None:
        """An upload whose sender goes away in the middle."""
        file = make_file(self.chance)
        body = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{uuid.uuid4()}"\r\n\r\n'.encode()
        head = (
            f"POST /api/v1/documents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {len(body) + len(file.content) + 9}\r\n\r\n"
        )
        target = httpx.URL(self.url)
        try:
            with socket.create_connection((target.host, target.port), timeout=5) as connection:
                connection.sendall(head.encode() + body + file.content[: len(file.content) // 2])
                time.sleep(self.chance.uniform(0, 0.3))
        except OSError:
            pass

    def delete(self) -> None:
        if len(self.ledger.documents) > self.chance.randrange(30):
            self.remove(self.any_document() or "")

    def remove(self, document: str) -> None:
        """Gone is gone: no search finds it after that."""
        if not document:
            return
        file = self.ledger.documents.pop(document)
        self.ledger.deleted[document] = file
        self.call("DELETE", f"/api/v1/documents/{document}")
        if document in self._found(file.word):
            self.wrong.append(f"search finds {file.name} after it was deleted")

    def reprocess(self) -> None:
        if document := self.any_document():
            self.call("POST", f"/api/v1/documents/{document}/reprocess")

    def rename(self) -> None:
        if document := self.any_document():
            old = self.ledger.documents[document]
            answer = self.call("PATCH", f"/api/v1/documents/{document}", json={"filename": f"new-{old.name}"[-200:]})
            if answer.status_code != 200:
                self.wrong.append(f"{document} could not be renamed: {answer.text[:200]}")

    def search(self) -> None:
        self._found(self.chance.choice([sentences(self.chance, 1), "keeper of the bridge"]))

    def _found(self, query: str) -> set[str]:
        if not query:
            return set()
        answer = self.call("POST", "/api/v1/search", json={"query": query, "limit": 10})
        return {result["document"] for result in answer.json().get("results", [])}

    def finds(self, document: str) -> bool:
        """Whether the word that only this document has leads to it."""
        return document in self._found(self.ledger.documents[document].word)

    def look_at_list(self) -> None:
        """Every document that was promised is in it."""
        promised, listed = set(self.ledger.documents), self.listed()
        if missing := promised - set(listed):
            self.wrong.append(f"accepted documents are not in the list: {sorted(missing)}")

    def listed(self) -> dict[str, dict[str, Any]]:
        """All documents of the account by id."""
        found, url = {}, "/api/v1/documents?page_size=100"
        while url:
            page = self.call("GET", url).json()
            found |= {entry["id"]: entry for entry in page["results"]}
            url = page["next"]
        return found

    def look_at_page(self) -> None:
        papers = [key for key, file in self.ledger.documents.items() if file.name.startswith("paper-")]
        if papers:
            self.call("GET", f"/api/v1/documents/{self.chance.choice(papers)}/pages/1")

    def ask(self) -> None:
        answer = self._ask_somewhere()
        if answer.status_code == 201:
            self.ledger.answers.add(answer.json()["id"])

    def _ask_somewhere(self) -> httpx.Response:
        conversation = self._conversation()
        path, question = f"/api/v1/conversations/{conversation}/messages", {"content": sentences(self.chance, 1)}
        return self.call("POST", path, key=str(uuid.uuid4()), json=question)

    def _conversation(self) -> str:
        if len(self.conversations) < 3:
            self.conversations.append(self.call("POST", "/api/v1/conversations", json={}).json()["id"])
        return self.chance.choice(self.conversations)

    def stream(self) -> None:
        """Read an answer as it comes; it may break off at any moment."""
        path = f"/api/v1/conversations/{self._conversation()}/messages"
        question, headers = {"content": sentences(self.chance, 1)}, {"Accept": "text/event-stream"}
        try:
            with self.client.stream("POST", path, json=question, headers=headers) as answer:
                self.answers[f"{answer.status_code} (stream)"] += 1
                if answer.status_code == 500:
                    self.wrong.append(f"a stream began with 500: {answer.read()[:200]!r}")
                for _ in answer.iter_lines():
                    pass
        except httpx.HTTPError as error:
            self.answers[type(error).__name__] += 1


def _is_passing(answer: httpx.Response) -> bool:
    if answer.status_code == 409:
        return answer.json().get("code") in {"idempotency_in_progress", "answer_in_progress"}
    return answer.status_code in PASSING
