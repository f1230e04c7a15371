"""What tests/citus/bench.py runs in the one and in the other database, as a process of its own."""

import json
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
import numpy as np

THREADS, SECONDS = 4, 6.0
QUESTION = "Which turbine was replaced in Oslo?"


def main() -> None:
    """``vectors`` or ``measure``."""
    django.setup()
    if sys.argv[1] == "vectors":
        _add_vectors()
        return
    from chat.models import Conversation
    from documents.models import Document

    owners = sorted(set(Document.objects.values_list("owner_id", flat=True)))
    talks = list(Conversation.objects.filter(owner_id__in=owners))
    vector = np.random.default_rng(1).normal(size=384).astype(np.float32)
    results = {
        "search": _timed(lambda: _search(random.choice(owners), vector / np.linalg.norm(vector))),
        "chat writes": _timed(lambda: _converse(random.choice(talks))),
    }
    print(json.dumps(results))


def _add_vectors() -> None:
    from django.db import connection

    from documents.vectors import create_index, model_names
    from tests.citus.bench import VECTORS

    with connection.cursor() as cursor:
        cursor.execute(VECTORS, {"model": model_names()[0]})
    from documents.models import EmbeddingModel

    create_index(EmbeddingModel.objects.get())


def _search(owner_id: int, vector: Any) -> None:
    from documents.search.ranking import Scope, rank

    assert rank(Scope(owner_id), QUESTION, vector)


def _converse(conversation: Any) -> None:
    """What a question and its answer write: as chat.services and chat.answers.storing do, without an engine."""
    from django.db import DatabaseError, transaction

    from chat.answers.draft import Draft
    from chat.answers.storing import store_answer
    from chat.bodies import body_of
    from chat.models import Message, MessageBody

    shared = {"owner_id": conversation.owner_id, "conversation_id": conversation.id}
    question = Message(role="user", **shared)
    answer = Message(role="assistant", status="running", **shared)
    try:
        with transaction.atomic():
            Message.objects.bulk_create([question, answer])
            MessageBody.objects.bulk_create([body_of(question, QUESTION)])
    except DatabaseError:
        return  # another thread asks in the same conversation
    draft = Draft(engine="extractive", query=QUESTION, parts=["It was the third one."] * 20)
    store_answer(answer.id, conversation.owner_id, {}, draft)


def _timed(work: Callable[[], None]) -> dict[str, float]:
    """By several threads, each with a connection."""
    from tests.citus.bench import percentiles

    work()
    ends = time.monotonic() + SECONDS
    with ThreadPoolExecutor(THREADS) as pool:
        seconds = [second for one in pool.map(_repeated, [work] * THREADS, [ends] * THREADS) for second in one]
    return {"rate": len(seconds) / SECONDS, **percentiles(seconds)}


def _repeated(work: Callable[[], None], ends: float) -> list[float]:
    from django.db import connection

    seconds = []
    while (began := time.monotonic()) < ends:
        work()
        seconds.append(time.monotonic() - began)
    connection.close()
    return seconds


if __name__ == "__main__":
    main()
