"""OpenAI's endpoints, with its own client in test_live.py."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from chat.answers.board import board
from chat.models import Message
from documents.models import Collection, Document, DocumentText
from ragsite.accounts.models import User
from tests.chat.conftest import QUESTION, use, wait_for
from tests.load.mock_model import Server

Client = Callable[..., APIClient]
URL = "/v1/chat/completions"


def body(content: str = QUESTION, model: str = "ragsite", **values: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **values}


def chunks(response: Any) -> list[dict[str, Any]]:
    text = b"".join(response.streaming_content).decode()
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_completion_has_the_answer_with_annotations(owner: User, api: Client, library: dict[str, Document]) -> None:
    response = api(owner).post(URL, body())
    assert response.status_code == 200
    completion = response.json()
    message = completion["choices"][0]["message"]
    assert "1,230 kilometres" in message["content"]
    annotation = message["annotations"][0]
    place = annotation["url_citation"]
    assert message["content"][place["start_index"] : place["end_index"]] == "[1]"
    citation = annotation["citation"]
    text = DocumentText.objects.get(document=citation["document"]).text
    assert text[citation["start"] : citation["end"]] == citation["quote"]
    assert (completion["object"], completion["model"]) == ("chat.completion", "ragsite")
    assert not Message.objects.exists(), "the client keeps the conversation"


def test_a_stream_has_openais_chunks_and_the_usage_when_asked_for(
    owner: User, api: Client, library: dict[str, Document], model: Server
) -> None:
    response = api(owner).post(URL, body(stream=True, stream_options={"include_usage": True}))
    assert response["Content-Type"] == "text/event-stream"
    found = chunks(response)
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in found[1:-1])
    assert text.startswith("The passages say so [1]")
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-2]["choices"][0]["delta"]["annotations"][0]["citation"]["marker"] == 1
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["completion_tokens"] == 12
    assert len({chunk["id"] for chunk in found}) == 1


def test_a_collection_is_a_model(owner: User, stranger: User, api: Client, library: dict[str, Document]) -> None:
    client = api(owner)
    collection = client.post("/api/v1/collections", {"name": "Towers"}).json()["id"]
    client.patch(f"/api/v1/documents/{library['tower'].id}", {"collections": [collection]})
    name = f"ragsite/{collection}"
    assert [entry["id"] for entry in client.get("/v1/models").json()["data"]] == ["ragsite", name]
    assert client.get(f"/v1/models/{name}").json()["id"] == name
    message = client.post(URL, body("What do bells weigh?", name)).json()["choices"][0]["message"]
    assert [entry["url_citation"]["title"] for entry in message["annotations"]] == ["tower.md"]
    assert [entry["id"] for entry in api(stranger).get("/v1/models").json()["data"]] == ["ragsite"]
    assert api(stranger).post(URL, body(model=name)).status_code == 404


def test_system_messages_and_the_conversation_reach_the_model(
    owner: User, api: Client, library: dict[str, Document], model: Server, settings: LazySettings
) -> None:
    use(settings, model, "echo")
    messages = [
        {"role": "system", "content": "Answer like a pirate."},
        {"role": "user", "content": "How long is the Rhine?"},
        {"role": "assistant", "content": "Long."},
        {"role": "user", "content": [{"type": "text", "text": "And where?"}, {"type": "image_url", "image_url": {}}]},
    ]
    response = api(owner).post(URL, {"model": "ragsite", "messages": messages})
    sent = json.loads(response.json()["choices"][0]["message"]["content"])
    assert "Answer like a pirate." in sent[0]["content"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert sent[-1]["content"].endswith("Question: And where?")


@pytest.mark.parametrize(
    ("values", "status", "kind"),
    [
        (body(model="gpt-4"), 404, "not_found_error"),
        (body(model="ragsite/not-an-id"), 404, "not_found_error"),
        ({"model": "ragsite", "messages": []}, 400, "invalid_request_error"),
        ({"model": "ragsite"}, 400, "invalid_request_error"),
        (body("  "), 400, "invalid_request_error"),
        ({"model": "ragsite", "messages": [{"role": "assistant", "content": "x"}]}, 400, "invalid_request_error"),
        ({"model": "ragsite", "messages": [{"role": "king", "content": "x"}]}, 400, "invalid_request_error"),
        (body({"a": 1}), 400, "invalid_request_error"),  # type: ignore[arg-type]
    ],
)
def test_errors_have_openais_form(owner: User, api: Client, values: dict[str, Any], status: int, kind: str) -> None:
    response = api(owner).post(URL, values)
    assert response.status_code == status
    assert response.json()["error"]["type"] == kind
    assert response.json()["error"]["message"]


def test_callers_without_a_token_get_openais_error_too(api: Client) -> None:
    response = api().post(URL, body())
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "authentication_error"


def test_a_model_that_fails_is_an_error_in_both_forms(
    owner: User, api: Client, library: dict[str, Document], model: Server, settings: LazySettings
) -> None:
    use(settings, model, "cut")
    response = api(owner).post(URL, body())
    assert (response.status_code, response.json()["error"]["code"]) == (502, "model_unreachable")
    assert chunks(api(owner).post(URL, body(stream=True)))[-1]["error"]["code"] == "model_unreachable"


def test_a_client_that_goes_away_ends_the_answer(
    owner: User, api: Client, library: dict[str, Document], slow_model: Server
) -> None:
    response = api(owner).post(URL, body(stream=True))
    pieces = iter(response.streaming_content)
    while b"passages" not in next(pieces):
        pass
    response.close()
    wait_for(lambda: slow_model.closed == 1)
    wait_for(lambda: not len(board()))


def test_models_are_listed_with_the_same_queries_for_any_number(
    owner: User, api: Client, django_assert_num_queries: Any
) -> None:
    client = api(owner)
    for number in range(20):
        Collection.objects.create(owner=owner, name=str(number))
    client.get("/v1/models")
    with django_assert_num_queries(2):  # token; collections
        assert len(client.get("/v1/models").json()["data"]) == 21
