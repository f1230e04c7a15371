"""What of all that was promised is not there at the end: nothing, or the run has failed."""

import json
import time
from collections.abc import Iterator, Sequence

from tests.scale.rig import Rig
from tests.scale.visitors import Visitor
from tests.torture.people import Over

SETTLE_SECONDS = 300


def settle(visitors: Sequence[Visitor]) -> list[str]:
    """Wait until every document is processed; what is wrong with that."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while left := [entry for visitor in visitors for entry in _unfinished(visitor)]:
        if time.monotonic() > deadline:
            return [f"{name} is {state} after {SETTLE_SECONDS} s" for name, state in left]
        time.sleep(0.5)
    return []


def _unfinished(visitor: Visitor) -> Iterator[tuple[str, str]]:
    for document in visitor.listed().values():
        if document["status"] not in {"processed", "failed"}:
            yield document["filename"], document["status"]


def losses(visitors: Sequence[Visitor]) -> list[str]:
    """Documents that were accepted, conversations that were begun, answers that were said to be done."""
    found = []
    for visitor in visitors:
        try:
            found += [*_documents(visitor), *_conversations(visitor), *_answers(visitor)]
        except Over:
            found.append("a visitor had no answer at the end")
    return found


def _documents(visitor: Visitor) -> Iterator[str]:
    listed = visitor.listed()
    for identifier, file in visitor.ledger.documents.items():
        if identifier not in listed:
            yield f"lost: {file.name} was accepted and is gone"
        elif listed[identifier]["status"] != "processed":
            yield f"lost: {file.name}: {listed[identifier]['error']}"
        elif not visitor.finds(identifier):
            yield f"lost: {file.name} is processed and not found"
    for identifier in visitor.ledger.deleted.keys() & listed.keys():
        yield f"{listed[identifier]['filename']} was deleted and is there"


def _conversations(visitor: Visitor) -> Iterator[str]:
    for identifier in visitor.conversations:
        if visitor.call("GET", f"/api/v1/conversations/{identifier}").status_code != 200:
            yield f"lost: the conversation {identifier}"


def _answers(visitor: Visitor) -> Iterator[str]:
    for identifier in visitor.ledger.answers | visitor.interrupted:
        answer = visitor.call("GET", f"/api/v1/messages/{identifier}")
        if answer.status_code != 200:
            yield f"lost: the answer {identifier}"
        elif identifier in visitor.done and answer.json()["content"] != visitor.done[identifier]:
            yield f"lost: what the answer {identifier} said"


def audited(rig: Rig) -> tuple[list[str], str]:
    """What the site's own audit finds wrong, and what it has counted."""
    code = "from tests.torture.audit import report; report()"
    found = json.loads(rig.manage("shell", "-v0", "-c", code).splitlines()[-1])
    return found["wrong"], json.dumps(found["counts"])
