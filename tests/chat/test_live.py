"""The real web processes: answers across them, their death, many at once, OpenAI's own client."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from chat.models import Message
from documents.models import Document
from ragsite.accounts.models import ApiToken, User
from ragsite.layout import Layout
from tests.chat.conftest import QUESTION, wait_for
from tests.load.answers import stream_many
from tests.load.mock_model import Server, Times, running_mock
from tests.load.site import Site, running_site

pytestmark = pytest.mark.xdist_group("live")
MANY = httpx.Limits(max_connections=200)
SLOWLY = f"{QUESTION} mock:slow"
"""Its answer takes 12 seconds: on a busy machine the usual one may have ended before a test stops or breaks it."""


@pytest.fixture(scope="module")
def slow_mock() -> Iterator[Server]:
    with running_mock(Times(first=100, delay=30, tokens=80, beat=10)) as server:
        yield server


@pytest.fixture(scope="module")
def site(layout: Layout, encoder_service: Any, slow_mock: Server, django_db_setup: None) -> Iterator[Site]:
    with running_site(layout, LLM_BASE_URL=f"http://127.0.0.1:{slow_mock.port}/v1", LLM_MODEL="mock") as running:
        yield running


@pytest.fixture
def secret(owner: User) -> str:
    return ApiToken.issue(owner=owner, name="live")[1]


@pytest.fixture
def caller(site: Site, secret: str) -> Iterator[Callable[[], httpx.Client]]:
    """Clients with connections of their own, which land in either process."""
    made: list[httpx.Client] = []

    def client() -> httpx.Client:
        made.append(
            httpx.Client(base_url=site.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30, trust_env=False)
        )
        return made[-1]

    yield client
    for entry in made:
        entry.close()


def conversation(client: httpx.Client) -> str:
    identifier: str = client.post("/api/v1/conversations", json={}).json()["id"]
    return identifier


def asked(client: httpx.Client, question: str = SLOWLY) -> Any:
    path = f"/api/v1/conversations/{conversation(client)}/messages"
    return client.stream("POST", path, json={"content": question}, headers={"Accept": "text/event-stream"})


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def until(stream: Iterator[tuple[str, dict[str, Any]]], name: str) -> dict[str, Any]:
    """The next event of this name; if the stream ends without one, the test says what came instead."""
    others = []
    for found, data in stream:
        if found == name:
            return data
        others.append((found, data))
    raise AssertionError(f"no {name!r}, but {others[-5:]}")


def test_every_process_follows_and_stops_the_answers_of_the_others(
    library: dict[str, Document], caller: Callable[[], httpx.Client]
) -> None:
    with asked(caller()) as response:
        stream = events(response)
        identifier = next(stream)[1]["message"]
        until(stream, "token")
        for _ in range(6):  # some of them land in the other process
            with caller().stream("GET", f"/api/v1/messages/{identifier}/events") as other:
                assert until(events(other), "token")["text"]
        assert caller().post(f"/api/v1/messages/{identifier}/stop").status_code == 202
        assert until(stream, "done")["message"]["status"] == "stopped"


def test_a_killed_process_leaves_an_answer_that_is_marked_interrupted(
    library: dict[str, Document], caller: Callable[[], httpx.Client], site: Site
) -> None:
    from chat.answers import streams
    from chat.answers.sweeping import sweep

    with asked(caller()) as response:
        stream = events(response)
        identifier = next(stream)[1]["message"]
        until(stream, "token")
        wait_for(lambda: any(e.name == "token" for e in streams.read(identifier)))
        for worker in site.workers():
            os.kill(worker, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            list(stream)
    assert sweep() == 1  # at once: that the process is gone is known
    message = wait_for(lambda: caller().get(f"/api/v1/messages/{identifier}").json())
    assert message["status"] == "interrupted"
    assert message["content"].startswith("The")


def test_after_a_kill_the_conversation_takes_the_next_question_at_once(
    library: dict[str, Document], caller: Callable[[], httpx.Client], site: Site
) -> None:
    path = f"/api/v1/conversations/{conversation(caller())}/messages"
    streamed = {"json": {"content": QUESTION}, "headers": {"Accept": "text/event-stream"}}
    with caller().stream("POST", path, **(streamed | {"json": {"content": SLOWLY}})) as response:
        stream = events(response)
        until(stream, "token")
        for worker in site.workers():
            os.kill(worker, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            list(stream)
    with wait_for(lambda: _reached(caller())).stream("POST", path, **streamed) as response:
        assert response.status_code == 200
        assert until(events(response), "done")["message"]["status"] == "complete"


def _reached(client: httpx.Client) -> httpx.Client | None:
    """The client, once processes have come in place of the killed ones."""
    try:
        return client if client.get("/healthz").status_code == 200 else None
    except httpx.TransportError:
        return None


def test_open_streams_leave_room_for_short_requests(library: dict[str, Document], layout: Layout, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}"}
    with ExitStack() as stack:
        mock = stack.enter_context(running_mock(Times(first=100, delay=100, tokens=300, beat=10)))
        model = {"LLM_BASE_URL": f"http://127.0.0.1:{mock.port}/v1", "LLM_MODEL": "mock"}
        small = stack.enter_context(running_site(layout, RAGSITE_WEB_THREADS="16", **model))
        client = httpx.Client(base_url=small.url, headers=headers, timeout=10, trust_env=False, limits=MANY)
        stack.enter_context(client)
        stream = events(stack.enter_context(asked(client)))
        path = f"/api/v1/messages/{next(stream)[1]['message']}/events"
        opened = [stack.enter_context(client.stream("GET", path)).status_code for _ in range(60)]
        assert set(opened) == {200, 503}, "they are more than both processes have threads"
        for _ in range(10):
            assert httpx.get(f"{small.url}/healthz", timeout=10, trust_env=False).status_code == 200


def test_openais_own_client_streams_and_reads_citations_usage_models_and_errors(
    library: dict[str, Document], site: Site, secret: str
) -> None:
    client = openai.OpenAI(base_url=f"{site.url}/v1", api_key=secret, max_retries=0)
    messages: Any = [{"role": "user", "content": QUESTION}]
    assert [entry.id for entry in client.models.list()] == ["ragsite"]
    assert client.models.retrieve("ragsite").id == "ragsite"
    whole = client.chat.completions.create(model="ragsite", messages=messages)
    assert whole.choices[0].message.annotations
    assert whole.usage
    assert whole.usage.completion_tokens == 80
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model="ragsite", messages=messages, stream=True, stream_options=options)
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4", messages=messages)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{site.url}/v1", api_key="wrong", max_retries=0).models.list()


def test_openais_own_client_reads_links_to_passages_why_an_answer_ended_and_picks_style_and_model(
    library: dict[str, Document], site: Site, secret: str
) -> None:
    client = openai.OpenAI(base_url=f"{site.url}/v1", api_key=secret, max_retries=0)
    messages: Any = [{"role": "user", "content": QUESTION}]
    whole = client.chat.completions.create(model="ragsite", messages=messages, max_tokens=5, temperature=0.1, user="u")
    choice = whole.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.annotations
    place = choice.message.annotations[0].url_citation
    assert place.url.startswith(f"{site.url}/library/")
    assert (choice.message.content or "")[place.start_index : place.end_index] == "[1]"
    quoted = client.chat.completions.create(model="ragsite", messages=messages, extra_body={"style": "quotes"})
    assert quoted.choices[0].message.content == "It is 1,230 kilometres long and flows through Basel. [1]"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="ragsite", messages=messages, extra_body={"language_model": "none"})
    assert "no language model" in refused.value.message


def test_langchains_client_streams_and_reads_usage_and_errors(
    library: dict[str, Document], site: Site, secret: str
) -> None:
    python = os.environ.get("LANGCHAIN_TEST_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import langchain_openai"], check=False, capture_output=True).returncode:
        pytest.skip("langchain-openai is not installed: LANGCHAIN_TEST_PYTHON names a Python that has it")
    program = Path(__file__).with_name("langchain_client.py")
    done = subprocess.run(
        [python, str(program), site.url, secret, QUESTION], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["whole"]["text"] == seen["streamed"]["text"]
    assert seen["whole"]["why"] == "stop"
    assert seen["whole"]["usage"]["output_tokens"] == seen["streamed"]["usage"]["output_tokens"] == 80
    assert seen["streamed"]["pieces"] > 2
    assert "401" in seen["wrong_key"]
    assert "does not exist" in seen["wrong_model"]


def test_many_answers_stream_at_once_over_few_database_connections(
    library: dict[str, Document], site: Site, secret: str
) -> None:
    result = stream_many(site.url, secret, 60, "What flows through Basel?")
    assert result.errors == []
    assert result.finished == 60
    assert result.most_connections < 30


@pytest.mark.slow
def test_three_hundred_answers_stream_at_once_with_fewer_than_fifty_connections(
    library: dict[str, Document], site: Site, secret: str
) -> None:
    result = stream_many(site.url, secret, 300, "What flows through Basel?")
    print(result.report())
    assert result.errors == []
    assert result.finished == 300
    assert result.most_connections < 50


def test_a_process_that_is_told_to_stop_stores_its_answers_as_interrupted(
    library: dict[str, Document], caller: Callable[[], httpx.Client], site: Site
) -> None:
    with asked(caller()) as response:
        stream = events(response)
        identifier = next(stream)[1]["message"]
        until(stream, "token")
        site.process.send_signal(signal.SIGTERM)
        last = until(stream, "error")
    assert last["code"] == "interrupted"
    stored = Message.objects.get(id=identifier)
    assert stored.status == "interrupted"
    assert stored.body.content == last["message"]["content"] != ""
    assert site.process.wait(10) == 0
