"""After the visitors have gone: what became of the documents that they uploaded."""

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import httpx

from tests.load.harness.samples import Sample
from tests.load.harness.systems.base import Account, Progress, Refused, System

PAUSE = 1.0


class PlainReply:
    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.status = response.status_code

    def header(self, name: str) -> str:
        return self.response.headers.get(name, "")

    def body(self) -> bytes:
        return self.response.content

    def frames(self) -> Iterator[bytes]:
        yield from (frame + b"\n\n" for frame in self.response.content.split(b"\n\n") if frame)

    def abandon(self) -> None:
        self.response.close()


class PlainTransport:
    """httpx, which waits for whole bodies: enough for whoever does not measure."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> PlainReply:
        return PlainReply(self.client.request(method, path, headers=headers, content=body))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()


def uploaded(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """Account and document of what was accepted, each once."""
    pairs = ((sample.extra.get("account", ""), sample.extra.get("document", "")) for sample in samples)
    return list(dict.fromkeys(pair for pair in pairs if pair[1]))


def wait_for_documents(
    system: System, url: str, accounts: Sequence[Account], wanted: Sequence[tuple[str, str]], patience: float
) -> list[Progress]:
    """Where each is, at the latest after ``patience`` seconds."""
    sessions = {account.name: system.sign_in(account) for account in accounts}
    found: dict[tuple[str, str], Progress] = {}
    deadline = time.monotonic() + patience
    with PlainTransport(url) as transport:
        while left := [pair for pair in wanted if pair not in found or not found[pair].over]:
            for account, document in left:
                try:
                    found[account, document] = sessions[account].progress(transport, document)
                except Refused as refusal:
                    found[account, document] = Progress("failed", error=refusal.kind)
            if time.monotonic() > deadline:
                break
            if not all(progress.over for progress in found.values()):
                time.sleep(PAUSE)
    return list(found.values())
