"""Open WebUI, as its API documents it: files into a knowledge base, then chat completions over it.

The same visitors can so drive both systems in the same run. Tried on 0.12; not part of the tests, because it is not
installed for them.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.load.harness.systems.base import PROCESSED, Account, Event, Progress, Refused, Transport, multipart
from tests.load.harness.systems.ragsite import read_json


class OpenWebUI:
    name = "open-webui"

    def __init__(self, model: str = "mock", knowledge: str = "") -> None:
        self.model, self.knowledge = model, knowledge

    def sign_in(self, account: Account) -> "OpenWebUISession":
        return OpenWebUISession(account, self.model, self.knowledge)


class OpenWebUISession:
    """``knowledge`` is the id of a knowledge base that answers are drawn from."""

    def __init__(self, account: Account, model: str, knowledge: str) -> None:
        self.headers = {"Authorization": f"Bearer {account.token}", "Content-Type": "application/json"}
        self.model, self.knowledge = model, knowledge

    def upload(self, transport: Transport, filename: str, data: bytes) -> str:
        body, content_type = multipart({}, filename, data)
        reply = transport.send("POST", "/api/v1/files/", {**self.headers, "Content-Type": content_type}, body)
        identifier: str = read_json(reply)["id"]
        if self.knowledge:
            path, added = f"/api/v1/knowledge/{self.knowledge}/file/add", json.dumps({"file_id": identifier})
            read_json(transport.send("POST", path, self.headers, added.encode()))
        return identifier

    def progress(self, transport: Transport, document: str) -> Progress:
        found = read_json(transport.send("GET", f"/api/v1/files/{document}", self.headers))
        status = (found.get("data") or {}).get("status", "")
        seconds = found["updated_at"] - found["created_at"]
        return Progress(PROCESSED, seconds) if status == "completed" else Progress(status or "pending")

    def begin(self, transport: Transport) -> Any:
        """The history, which this API wants with each question."""
        return []

    def ask(
        self, transport: Transport, conversation: Any, question: str, *, streamed: bool = True, fresh: bool = False
    ) -> Iterator[Event]:
        conversation.append({"role": "user", "content": question})
        body: dict[str, Any] = {"model": self.model, "stream": streamed, "messages": conversation}
        if self.knowledge:
            body["files"] = [{"type": "collection", "id": self.knowledge}]
        reply = transport.send("POST", "/api/chat/completions", self.headers, json.dumps(body).encode())
        if reply.status != 200 or not streamed:
            conversation.append(read_json(reply)["choices"][0]["message"])
            yield Event("done")
            return
        yield from _events(reply.frames(), conversation)
        reply.body()


def _events(frames: Iterator[bytes], conversation: list[dict[str, str]]) -> Iterator[Event]:
    said = []
    for frame in frames:
        data = frame.strip().removeprefix(b"data: ")
        if data == b"[DONE]":
            conversation.append({"role": "assistant", "content": "".join(said)})
            yield Event("done")
            return
        if not data.startswith(b"{"):
            continue
        for choice in json.loads(data).get("choices", []):
            if text := choice["delta"].get("content"):
                said.append(text)
                yield Event("token")
    raise Refused("stream broke off")
