"""The stand-in for a model's server keeps its times and fails as it is told."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.instance import until
from tests.load.mock_cost import measure
from tests.load.mock_model import Server, Times, running_mock
from tests.load.mock_process import running_mock_process


def post(server: Server, mode: str = "", content: str = "Hello") -> httpx.Response:
    prefix = f"/{mode}" if mode else ""
    body = {"model": "mock", "stream": True, "messages": [{"role": "user", "content": content}]}
    return httpx.post(f"http://127.0.0.1:{server.port}{prefix}/v1/chat/completions", json=body, timeout=2)


def text_of(response: httpx.Response) -> str:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def test_an_answer_has_the_tokens_and_takes_the_time_that_were_set() -> None:
    with running_mock(Times(first=100, delay=10, tokens=20, beat=5)) as server:
        started = time.monotonic()
        response = post(server)
        assert time.monotonic() - started >= 0.28
    assert response.text.endswith("data: [DONE]\n\n")
    assert len(text_of(response).split()) == 20
    assert '"completion_tokens": 20' in response.text


def test_an_answer_that_is_told_to_hurry_ends_with_its_next_token() -> None:
    with running_mock(Times(first=10, delay=200, tokens=1000, beat=5)) as server, ThreadPoolExecutor() as pool:
        answer = pool.submit(post, server)
        assert until(lambda: server.stats.open)
        server.hurry()
        assert len(text_of(answer.result(60)).split()) == 1000


def test_a_connection_serves_several_questions() -> None:
    with running_mock() as server, httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        for _ in range(3):
            assert client.post("/v1/chat/completions", json={"messages": []}).status_code == 200
        assert client.get("/v1/models").json()["data"][0]["id"] == "mock"


@pytest.mark.parametrize("mode", ["refuse", "cut"])
def test_a_connection_breaks_where_it_should(mode: str) -> None:
    with running_mock() as server, pytest.raises(httpx.TransportError):
        post(server, mode)


@pytest.mark.parametrize(("mode", "status"), [("500", 500), ("400", 400)])
def test_an_error_is_answered_by_path_and_by_word(mode: str, status: int) -> None:
    with running_mock() as server:
        assert post(server, mode).status_code == status
        assert post(server, content=f"Question: mock:{mode}").status_code == status


def test_the_messages_come_back_in_echo() -> None:
    with running_mock() as server:
        assert json.loads(text_of(post(server, "echo", "Grüße"))) == [{"role": "user", "content": "Grüße"}]


@pytest.mark.parametrize("mode", ["hang", "stall"])
def test_silence_lasts(mode: str) -> None:
    with running_mock() as server, pytest.raises(httpx.ReadTimeout):
        post(server, mode)


def test_a_client_that_wants_no_stream_gets_one_piece() -> None:
    with running_mock(Times(first=10, delay=1, tokens=8, beat=2)) as server:
        body = {"messages": [{"role": "user", "content": "Hello"}], "stream": False}
        answer = httpx.post(f"http://127.0.0.1:{server.port}/v1/chat/completions", json=body, timeout=5).json()
    assert answer["choices"][0]["message"]["content"].startswith("The passages say so [1]")
    assert answer["usage"]["completion_tokens"] == 8


def test_the_share_of_failures_is_exact() -> None:
    server = Server(failures=0.05)
    modes = [server.told_to_fail() for _ in range(300)]
    assert len([mode for mode in modes if mode]) == server.stats.failed_as_told == 15
    assert {mode for mode in modes if mode} == {"500", "cut", "error"}


def test_many_streams_of_a_process_of_its_own_are_all_whole_and_counted() -> None:
    with running_mock_process(Times(first=20, delay=2, tokens=30)) as model:
        assert len(measure(model, 200).whole) == 200
        stats = model.stats()
        model.reset()
        assert model.stats()["answers"] == 0
    assert (stats["requests"], stats["answers"], stats["open"]) == (200, 200, 0)
    assert stats["most_open"] > 1
    assert stats["late_ms"]["most"] >= stats["late_ms"]["p50"] >= 0


def test_a_question_that_is_to_be_made_self_contained_comes_back() -> None:
    with running_mock() as server:
        said = text_of(post(server, content="Conversation:\nuser: What is long?\n\nLast question: And in Basel?"))
    assert said == "And in Basel?"
