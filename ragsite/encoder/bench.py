"""Measures the encoder: ``python -m ragsite.encoder.bench``. Compares with the bare session in the same run."""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from ragsite.encoder.build import ensure_model
from ragsite.encoder.client import EncoderClient
from ragsite.encoder.model import EmbeddingModel, load_model
from ragsite.encoder.models import DEFAULT_MODEL, model_spec
from ragsite.layout import Layout

TEXT_TOKENS = 256
QUERY = "Which percentage of the rainforest is in Peru, and which in Brazil?"
QUERIES = 100
WORDS = (
    *("river", "city", "treaty", "council", "music", "engine", "theory", "harvest", "museum", "bridge", "the", "of"),
    *("and", "in", "to", "was", "with", "from", "which", "between", "large", "Bevölkerung", "région", "2014", "1,250"),
)


def main() -> None:
    """The command: prints one line a measurement."""
    parser = argparse.ArgumentParser(prog="python -m ragsite.encoder.bench", description="Measure the encoder.")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--models", type=Path, help="folder of the models (default: models/ of the data folder)")
    parser.add_argument("--texts", type=int, default=160, help="texts in each measurement")
    options = parser.parse_args()
    models_dir = options.models or Layout.from_environment().models_dir
    folder = ensure_model(options.model, models_dir)
    model = load_model(model_spec(options.model), folder)
    texts = [_text(model, seed) for seed in range(options.texts)]
    print(f"{options.model}, texts of {TEXT_TOKENS} tokens")
    print(f"query, bare session: {_query_times(lambda: model.embed(QUERY, 'query'))}")
    for threads in (1, 2):
        bare = _bare_rate(model, texts, threads)
        print(f"{threads} threads, bare session: {bare:.1f} texts/s")
        _measure_server(options.model, models_dir, texts, threads, bare)


def _text(model: EmbeddingModel, seed: int) -> str:
    """Random words, as many as make the wanted number of tokens or one token more."""
    choose = random.Random(seed)  # noqa: S311 (the same texts each time)
    words: list[str] = []
    while model.tokenizer.count(" ".join(words)) < TEXT_TOKENS - 5:  # room for prefix and special tokens
        words.append(choose.choice(WORDS))
    return " ".join(words)


def _bare_rate(model: EmbeddingModel, texts: list[str], threads: int) -> float:
    sequences = [model.tokenizer.ids(text, "passage") for text in texts]
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(model.embed_ids, sequences))
    return len(texts) / (time.perf_counter() - start)


def _measure_server(name: str, models_dir: Path, texts: list[str], threads: int, bare: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "encoder.sock"
        options = ["--socket", str(socket), "--model", name, "--models", str(models_dir), "--threads", str(threads)]
        start = time.perf_counter()
        server = subprocess.Popen([sys.executable, "-m", "ragsite.encoder", *options], stdout=subprocess.DEVNULL)
        try:
            while not socket.exists() and server.poll() is None:
                time.sleep(0.01)
            client = EncoderClient("http://encoder/v1", name, socket=socket)
            client.embed_query(QUERY)
            print(f"{threads} threads, server: first query answered after {time.perf_counter() - start:.2f} s")
            _measure_client(client, texts, threads, bare)
            print(f"{threads} threads, server: {_resident_megabytes(server.pid)}")
        finally:
            server.kill()
            server.wait()


def _measure_client(client: EncoderClient, texts: list[str], threads: int, bare: float) -> None:
    label = f"{threads} threads, server"
    start = time.perf_counter()
    client.embed_passages(texts)
    rate = len(texts) / (time.perf_counter() - start)
    print(f"{label}: {rate:.1f} texts/s from one client ({rate / bare:.0%} of the bare session)")
    print(f"{label}: query, idle: {_query_times(lambda: client.embed_query(QUERY))}")
    stop = Event()
    with ThreadPoolExecutor(2) as ingest:
        for _ in range(2):
            ingest.submit(_embed_until, client, texts, stop)
        time.sleep(0.5)
        print(f"{label}: query, two clients ingesting: {_query_times(lambda: client.embed_query(QUERY))}")
        stop.set()


def _embed_until(client: EncoderClient, texts: list[str], stop: Event) -> None:
    while not stop.is_set():
        client.embed_passages(texts[:32])


def _query_times(ask: Callable[[], object]) -> str:
    """Median and 95th percentile."""
    times = []
    for _ in range(QUERIES):
        start = time.perf_counter()
        ask()
        times.append((time.perf_counter() - start) * 1000)
        time.sleep(0.01)
    return f"p50 {statistics.median(times):.1f} ms, p95 {statistics.quantiles(times, n=20)[-1]:.1f} ms"


def _resident_megabytes(pid: int) -> str:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return "memory unknown"
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return f"{int(fields['VmRSS'].split()[0]) // 1024} MB resident"


if __name__ == "__main__":
    main()
