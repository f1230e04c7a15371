"""The requests that Open WebUI sends to a model, replayed: its shapes are those of its own source, shortened."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from documents.models import Document
from ragsite.accounts.models import User
from tests.chat.conftest import QUESTION
from tests.chat.test_openai_api import URL, chunks
from tests.load.mock_model import Server

Client = Callable[..., APIClient]

TASK = """### Task:
{wish}
### Guidelines:
- Your entire response must consist solely of the JSON object, without any introductory or concluding text.
### Output:
JSON format: {shape}
### Chat History:
<chat_history>
USER: How long is the Rhine,
from its source to the sea?
ASSISTANT: The Rhine is about 1,230 kilometres long. [1]
USER: And the Danube?
ASSISTANT: Your documents do not answer this.
</chat_history>"""
TITLE = '{ "title": "your concise title here" }'
TAGS = '{ "tags": ["tag1", "tag2", "tag3"] }'
FOLLOW_UPS = '{ "follow_ups": ["Question 1?", "Question 2?", "Question 3?"] }'
QUERIES = '{ "queries": ["query1", "query2"] }'


def task(shape: str, **values: Any) -> dict[str, Any]:
    content = TASK.format(wish="Generate something about the chat history.", shape=shape)
    return {"model": "ragsite", "messages": [{"role": "user", "content": content}], "stream": False, **values}


def test_the_models_are_listed_as_it_reads_them(owner: User, api: Client, library: dict[str, Document]) -> None:
    listed = api(owner).get("/v1/models").json()
    assert listed["object"] == "list"
    assert {"id", "object", "created", "owned_by"} <= set(listed["data"][0])


def test_a_question_as_it_sends_it_is_answered(
    owner: User, api: Client, library: dict[str, Document], model: Server
) -> None:
    """A system prompt, parts with a picture, parameters that are no concern of ours, and its own metadata."""
    parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
    body = {
        "model": "ragsite",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}],
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 1,
        "stop": ["\n\n\n"],
        "max_tokens": 256,
        "frequency_penalty": 0,
        "logit_bias": {},
        "response_format": {"type": "text"},
        "user": {"name": "Ada", "id": "1", "email": "ada@example.org", "role": "user"},
        "metadata": {"chat_id": "x", "features": {"web_search": False}},
        "tools": [{"type": "function", "function": {"name": "time", "parameters": {}}}],
    }
    found = chunks(api(owner).post(URL, body))
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in found if c["choices"])
    assert text.startswith("The passages say so [1]")
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (TITLE, {"title": "How long is the Rhine, from its source to the sea?"}),
        (TAGS, {"tags": ["General"]}),
        (FOLLOW_UPS, {"follow_ups": []}),
        (QUERIES, {"queries": ["And the Danube?"]}),
    ],
)
def test_wishes_about_the_conversation_are_not_searched_for(
    owner: User, api: Client, library: dict[str, Document], model: Server, shape: str, expected: dict[str, Any]
) -> None:
    completion = api(owner).post(URL, task(shape)).json()
    assert json.loads(completion["choices"][0]["message"]["content"]) == expected
    assert completion["usage"]["total_tokens"] == 0, "no model was asked"


def test_a_wish_may_be_streamed_too(owner: User, api: Client, library: dict[str, Document]) -> None:
    response = api(owner).post(URL, task(TITLE, stream=True))
    lines = [line.removeprefix("data: ") for line in response.content.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    content = json.loads(lines[0])["choices"][0]["delta"]["content"]
    assert json.loads(content)["title"].startswith("How long")


def test_a_question_that_looks_a_little_like_a_wish_is_a_question(
    owner: User, api: Client, library: dict[str, Document]
) -> None:
    for content in (f"### Task: {QUESTION}", f'{QUESTION} {{"title": 1}} <chat_history>USER: x</chat_history>'):
        body = {"model": "ragsite", "messages": [{"role": "user", "content": content}]}
        answer = api(owner).post(URL, body).json()["choices"][0]["message"]["content"]
        assert not answer.startswith("{")


def test_wishes_need_a_model_that_is_ones_own(stranger: User, api: Client) -> None:
    other = "ragsite/0190a5c8-0000-7000-8000-000000000000"
    assert api(stranger).post(URL, task(TITLE, model=other)).status_code == 404
