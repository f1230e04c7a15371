"""Several language models, what their servers say of themselves, and what is wrong with one."""

import io
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from chat.engines import server
from chat.engines.diagnosis import diagnosed
from chat.engines.openai import OpenAIEngine
from chat.models import Message
from documents.models import Document
from ragsite.accounts.models import User
from ragsite.language_models import LanguageModel, named_models
from tests.chat.conftest import ask, new_conversation, use
from tests.load.mock_model import Server, running_mock

Client = Callable[..., APIClient]
Answers = dict[str, tuple[int, str]]
STREAM = 'data: {"choices":[{"delta":{"content":"ready"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9}}\n\n'


class Scripted(ThreadingHTTPServer):
    """Answers each path as it is told; ``asked`` keeps the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[tuple[int, str]]] = {}
        self.asked: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def model(self, **values: Any) -> LanguageModel:
        return LanguageModel(**{"name": "default", "base_url": self.url, "model": "small", **values})


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.asked.append((self.path, self.headers.get("Authorization", ""), self.rfile.read(length).decode()))
        scripted = self.server.answers.get(self.path, [(404, "{}")])
        status, body = scripted.pop(0) if len(scripted) > 1 else scripted[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = _answer

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    made = Scripted()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    made.answers = {
        "/v1/models": [(200, '{"data":[{"id":"small","max_model_len":4096},{"id":"large"}]}')],
        "/v1/chat/completions": [(200, STREAM)],
    }
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    server._known.clear()


# --- Configuration ----------------------------------------------------------------------------------------------------
def test_further_models_take_what_they_do_not_name_from_the_first_but_a_key_only_with_its_address() -> None:
    environment = {
        "LLM_BASE_URL": "http://here/v1",
        "LLM_API_KEY": "mine",
        "LLM_CONTEXT_TOKENS": "9000",
        "LLM_FAST_MODEL": "tiny",
        "LLM_BIG_MODEL": "huge",
        "LLM_BIG_BASE_URL": "https://there/v1",
    }
    fast, big = named_models(["fast", " big "], environment)
    assert (fast.base_url, fast.api_key, fast.context_tokens) == ("http://here/v1", "mine", 9000)
    assert (big.base_url, big.api_key, big.context_tokens) == ("https://there/v1", "", 0)
    assert "mine" not in repr(fast)


@pytest.mark.parametrize("names", [["default"], ["extractive"], ["Big"], ["a b"]])
def test_names_that_mean_something_else_or_cannot_be_a_variable_are_refused(names: list[str]) -> None:
    with pytest.raises(ImproperlyConfigured):
        named_models(names, {})


def test_a_model_is_picked_for_a_conversation_or_a_question(
    owner: User, api: Client, library: dict[str, Document], model: Server, settings: LazySettings
) -> None:
    settings.LLM_MODELS = (LanguageModel("big", settings.LLM_BASE_URL, "huge", "secret-key"),)
    client = api(owner)
    offered = client.get("/api/v1/language-models")
    assert [entry["name"] for entry in offered.json()["results"]] == ["default", "big", "extractive"]
    assert "secret-key" not in offered.content.decode()
    assert "127.0.0.1" not in offered.content.decode()
    conversation = new_conversation(client, language_model="big")
    assert ask(client, conversation).json()["model"] == "huge"
    assert ask(client, conversation, language_model="default").json()["model"] == "mock"
    assert ask(client, conversation, language_model="extractive").json()["engine"] == "extractive"
    client.patch(f"/api/v1/conversations/{conversation}", {"language_model": ""})
    assert ask(client, conversation).json()["model"] == "mock"
    assert client.patch(f"/api/v1/conversations/{conversation}", {"language_model": "x"}).status_code == 400


def test_a_conversation_whose_model_is_gone_goes_on_with_the_first(
    owner: User, api: Client, library: dict[str, Document], model: Server, settings: LazySettings
) -> None:
    settings.LLM_MODELS = (LanguageModel("big", settings.LLM_BASE_URL, "huge"),)
    conversation = new_conversation(api(owner), language_model="big")
    settings.LLM_MODELS = ()
    assert ask(api(owner), conversation).json()["model"] == "mock"


def test_style_and_a_collections_instructions_reach_the_model(
    owner: User, api: Client, library: dict[str, Document], model: Server
) -> None:
    client = api(owner)
    collection = client.post("/api/v1/collections", {"name": "HR", "instructions": "You are the HR help desk."}).json()
    client.patch(f"/api/v1/documents/{library['rhine'].id}", {"collections": [collection["id"]]})
    conversation = new_conversation(client, collections=[collection["id"]], style="full")
    ask(client, conversation)
    ask(client, conversation, style="short")
    first, second = (request["messages"][0]["content"] for request in model.requests)
    assert first.endswith("You are the HR help desk.")
    assert "Answer fully" in first
    assert "one sentence" in second
    ask(client, new_conversation(client))
    assert "HR help desk" not in model.requests[-1]["messages"][0]["content"]


def test_quotes_only_asks_no_model(owner: User, api: Client, library: dict[str, Document], model: Server) -> None:
    answer = ask(api(owner), new_conversation(api(owner), style="quotes")).json()
    assert answer["engine"] == "extractive"
    assert answer["support"] is None
    assert not model.requests


def test_short_quotes_are_one_sentence(owner: User, api: Client, library: dict[str, Document]) -> None:
    answer = ask(api(owner), new_conversation(api(owner), style="short")).json()
    assert answer["content"] == "It is 1,230 kilometres long and flows through Basel. [1]"


def test_a_model_that_hangs_leaves_room_for_others(settings: LazySettings, scripted: Scripted) -> None:
    settings.ANSWERS_AT_ONCE = 4
    engine = OpenAIEngine(scripted.model())
    taken = [engine._free.acquire(blocking=False) for _ in range(4)]
    assert taken == [True, True, True, False]


# --- What a server says -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answers", "size"),
    [
        ({}, 4096),
        ({"/v1/models": '{"data":[{"id":"small","meta":{"n_ctx":2048,"n_ctx_train":99}}]}'}, 2048),
        ({"/v1/models": '{"data":[{"id":"small"}]}', "/props": '{"default_generation_settings":{"n_ctx":1024}}'}, 1024),
        ({"/v1/models": '{"data":[]}', "/api/ps": '{"models":[{"name":"small:latest","context_length":512}]}'}, 512),
        ({"/v1/models": '{"data":[{"id":"small"}]}'}, server.ASSUMED_CONTEXT),
        ({"/v1/models": "not JSON"}, server.ASSUMED_CONTEXT),
    ],
)
def test_the_context_is_what_the_server_says(scripted: Scripted, answers: dict[str, str], size: int) -> None:
    scripted.answers |= {path: [(200, body)] for path, body in answers.items()}
    assert server.context_tokens(scripted.model()) == size
    asked = len(scripted.asked)
    assert server.context_tokens(scripted.model()) == size
    assert len(scripted.asked) == asked, "it is asked once"
    assert server.context_tokens(scripted.model(context_tokens=77)) == 77


def test_a_prompt_fits_the_context_that_the_server_tells(
    owner: User, api: Client, processed: Callable[..., Document], model: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        processed(
            owner, f"# Rhine {number}\n\n" + f"The Rhine flows through Basel, part {number}. " * 20, f"{number}.md"
        )
    monkeypatch.setattr(server, "asked_context", lambda _model: 2000)
    answer = ask(api(owner), new_conversation(api(owner))).json()
    assert answer["status"] == "complete"
    assert answer["usage"]["prompt_tokens"] < 2000 - 1024
    assert model.requests[-1]["messages"][-1]["content"].count("(") < 6


# --- Other dialects, and trying again ---------------------------------------------------------------------------------
def test_a_server_that_wants_other_parameters_gets_them(
    owner: User, api: Client, library: dict[str, Document], scripted: Scripted, settings: LazySettings
) -> None:
    scripted.answers["/v1/chat/completions"] = [
        (400, '{"error":{"message":"Unsupported parameter: max_tokens. Use max_completion_tokens instead."}}'),
        (422, '{"detail":"stream_options: extra fields not permitted"}'),
        (200, STREAM),
    ]
    settings.LLM_BASE_URL, settings.LLM_MODEL = scripted.url, "small"
    assert ask(api(owner), new_conversation(api(owner))).json()["content"] == "ready"
    bodies = [body for path, _key, body in scripted.asked if path.endswith("completions")]
    assert "max_completion_tokens" in bodies[-1]
    assert "stream_options" not in bodies[-1]


def test_a_server_that_is_still_loading_is_asked_again(
    owner: User, api: Client, library: dict[str, Document], scripted: Scripted, settings: LazySettings
) -> None:
    loading = (503, '{"error":{"message":"Loading model"}}')
    scripted.answers["/v1/chat/completions"] = [loading, loading, (200, STREAM)]
    settings.LLM_BASE_URL, settings.LLM_MODEL = scripted.url, "small"
    assert ask(api(owner), new_conversation(api(owner))).json()["content"] == "ready"


def test_nothing_is_asked_again_once_a_word_has_come(
    owner: User, api: Client, library: dict[str, Document], model: Server, settings: LazySettings
) -> None:
    use(settings, model, "cut")
    assert ask(api(owner), new_conversation(api(owner))).status_code == 502
    assert len(model.requests) == 1
    assert Message.objects.get(role="assistant").body.content.startswith("The passages")


# --- What is wrong ----------------------------------------------------------------------------------------------------
def found(model: LanguageModel, fill: bool = False) -> list[tuple[str, bool | None, str]]:
    return [(one.step, one.ok, f"{one.detail} {one.advice}") for one in diagnosed(model, fill)]


def test_a_model_that_is_in_order_passes_every_step(scripted: Scripted) -> None:
    assert [(step, ok) for step, ok, _said in found(scripted.model())] == [
        ("address", True),
        ("key and models", True),
        ("answer", True),
        ("context", True),
    ]


@pytest.mark.parametrize(
    ("values", "answers", "step", "words"),
    [
        ({"base_url": "localhost"}, {}, "address", "http://localhost:11434/v1"),
        ({"base_url": "http://127.0.0.1:1/v1"}, {}, "address", "Is the server running"),
        ({}, {"/v1/models": (401, '{"error":"no key"}')}, "key and models", "LLM_API_KEY is missing"),
        ({"api_key": "k"}, {"/v1/models": (403, "")}, "key and models", "is not the one it wants"),
        ({"model": ""}, {}, "key and models", "Name one of: small, large"),
        ({}, {"/v1/chat/completions": (404, '{"error":"model not found"}')}, "answer", "Check the model's name"),
        ({}, {"/v1/chat/completions": (200, "data: {oops\n\n")}, "answer", "not JSON"),
        ({}, {"/v1/chat/completions": (200, "data: [DONE]\n\n")}, "answer", "without a word"),
        ({"context_tokens": 9000}, {}, "context", "the server 4096"),
        ({"max_tokens": 5000}, {}, "context", "lower LLM_MAX_TOKENS"),
    ],
)
def test_what_is_wrong_is_told_at_the_step_that_fails(
    scripted: Scripted, values: dict[str, Any], answers: dict[str, tuple[int, str]], step: str, words: str
) -> None:
    scripted.answers |= {path: [answer] for path, answer in answers.items()}
    last = found(scripted.model(**values))[-1]
    assert last[:2] == (step, False)
    assert words in last[2]


def test_an_address_without_its_version_is_told(scripted: Scripted) -> None:
    address = scripted.url.removesuffix("/v1")
    assert f"{address}/v1?" in found(scripted.model(base_url=address, model=""))[-1][2]


def test_a_name_that_the_server_does_not_have_is_met_with_the_nearest(scripted: Scripted) -> None:
    said = found(scripted.model(model="smal"))[1]
    assert said[1] is None
    assert "Did you mean small?" in said[2]


def test_a_server_that_does_not_speak_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].sendall(b"SSH-2.0-OpenSSH\r\n"), daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        assert "does not speak HTTP" in found(LanguageModel("default", address, "m"))[-1][2]
        thread.join()


def test_a_server_that_cuts_long_prompts_in_silence_is_found(scripted: Scripted) -> None:
    last = found(scripted.model(), fill=True)[-1]
    assert last[:2] == ("whole context", False)
    assert "OLLAMA_CONTEXT_LENGTH" in last[2]


def test_the_command_tells_and_never_shows_a_key(scripted: Scripted, settings: LazySettings) -> None:
    settings.LLM_BASE_URL, settings.LLM_MODEL, settings.LLM_API_KEY = scripted.url, "small", "hush-hush"
    out = io.StringIO()
    call_command("test_model", stdout=out)
    assert "WRONG" not in out.getvalue()
    assert ("/v1/models", "Bearer hush-hush") in [(path, key) for path, key, _body in scripted.asked]
    scripted.answers["/v1/chat/completions"] = [(500, "out of memory")]
    with pytest.raises(CommandError, match="Not in order: default"):
        call_command("test_model", stdout=out)
    assert "out of memory" in out.getvalue()
    assert "hush-hush" not in out.getvalue()
    with pytest.raises(CommandError, match="no model 'x'"):
        call_command("test_model", "x")


def test_a_refused_context_is_tried_again_at_half_the_size(
    owner: User, api: Client, processed: Callable[..., Document], settings: LazySettings
) -> None:
    for number in range(4):
        processed(
            owner, f"# Rhine {number}\n\n" + f"The Rhine flows through Basel, part {number}. " * 30, f"{number}.md"
        )
    with running_mock() as mock:
        use(settings, mock, "400")
        response = ask(api(owner), new_conversation(api(owner)))
    assert response.status_code == 422
    assert response.json()["code"] == "context_too_long"


def test_superusers_test_a_model_in_the_administration_and_see_no_key(
    staff: User, signed_in: Callable[[User], Any], scripted: Scripted, settings: LazySettings
) -> None:
    settings.LLM_BASE_URL, settings.LLM_MODEL, settings.LLM_API_KEY = scripted.url, "small", "hush-hush"
    address = "/admin/chat/conversation/language-models/"
    staff.is_superuser = False
    staff.save()
    assert signed_in(staff).get(address).status_code == 403
    staff.is_superuser = True
    staff.save()
    client = signed_in(staff)
    assert address in client.get("/admin/chat/conversation/").content.decode()
    assert "small at" in client.get(address).content.decode()
    page = client.post(address, {"name": "default"}).content.decode()
    assert "The server offers: small, large" in page
    assert "in order" in page
    assert "hush-hush" not in page
