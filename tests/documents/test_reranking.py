"""The reranker over HTTP: a real server that orders, refuses, answers nonsense or is too slow."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from documents.search import Scope, reranking, search

TEXTS = {
    "rivers.md": "# Rivers\n\nThe Danube flows through Vienna and Budapest.\n",
    "hills.md": "# Hills\n\nThe Matterhorn stands in Switzerland and Italy.\n",
    "lakes.md": "# Lakes\n\nLake Geneva lies in Switzerland and France.\n",
}


class Reranker(ThreadingHTTPServer):
    """Likes passages that name its favourite word best."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.favourite = "Matterhorn"
        self.answer: tuple[int, bytes] | None = None
        self.held = threading.Event()
        self.held.set()
        self.asked: list[dict] = []
        self.tokens: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: Reranker

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.tokens.append(self.headers["Authorization"])
        self.server.held.wait(10)
        results = [
            {"index": place, "relevance_score": 0.9 if self.server.favourite in text else 0.1 / (place + 1)}
            for place, text in enumerate(body["documents"])
        ]
        status, content = self.server.answer or (200, json.dumps({"results": results[::-1]}).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def reranker(settings) -> Iterator[Reranker]:
    with Reranker() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings.RERANK_BASE_URL = f"http://127.0.0.1:{server.server_port}/v1/"
        settings.RERANK_MODEL = "any"
        settings.RERANK_API_KEY = "secret"
        settings.RERANK_TIMEOUT_SECONDS = 5
        reranking._client.cache_clear()
        yield server
        server.held.set()
        server.shutdown()
    reranking._client.cache_clear()


@pytest.fixture
def library(owner, processed):
    for name, text in TEXTS.items():
        processed(owner, text, name)


def names(owner) -> list[str]:
    return [hit.filename for hit in search(Scope(owner.pk), "Which river flows through Vienna?")]


def test_the_order_and_the_scores_are_the_rerankers(owner, library, reranker):
    hits = search(Scope(owner.pk), "Which river flows through Vienna?")
    assert (hits[0].filename, hits[0].score) == ("hills.md", 0.9)
    assert len(hits) == 3
    (asked,) = reranker.asked
    assert (asked["model"], asked["query"], asked["top_n"]) == ("any", "Which river flows through Vienna?", 3)
    assert reranker.tokens == ["Bearer secret"]


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (401, b'{"detail": "no"}'),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"results": [{"index": 7, "relevance_score": 1}]}'),
        (200, b'{"results": [{"index": 0, "relevance_score": "high"}]}'),
        (200, b'{"results": null}'),
    ],
)
def test_what_is_no_answer_leaves_the_order_as_it_was(owner, library, reranker, answer):
    reranker.answer = answer
    assert names(owner)[0] == "rivers.md"


def test_one_that_is_too_slow_is_not_waited_for(owner, library, reranker, settings):
    settings.RERANK_TIMEOUT_SECONDS = 0.2
    reranker.held.clear()
    assert names(owner)[0] == "rivers.md"


def test_one_that_is_not_there_leaves_the_order_as_it_was(owner, library, reranker, settings):
    settings.RERANK_BASE_URL = "http://127.0.0.1:9/v1"
    assert names(owner)[0] == "rivers.md"


def test_nothing_is_asked_where_nothing_was_found(owner, reranker, fake_encoder):
    assert names(owner) == []
    assert not reranker.asked
