"""How long the first word of an answer takes while nothing else happens, and while documents are taken in.

    python -m tests.load.answers_during_ingest [--questions 20]

Once with extractive answers and once with the mock model, whose own time to the first word is 300 ms. The documents are
texts of 10 KB, as many as keep the encoder busy all the time.
"""

import argparse
import contextlib
import statistics
import tempfile
import threading
from pathlib import Path

import httpx

from ragsite.encoder.models import DEFAULT_MODEL
from tests.load.answers import Result, stream_in_turn
from tests.load.corpus import texts
from tests.load.ingest import Site, running
from tests.load.mock_model import Times, running_mock

TEXTS = 400
KNOWN = 20
"""So many are in the library when the first question comes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ragsite-bench-") as scratch:
        (Path(scratch) / "files").mkdir()
        files = texts(Path(scratch) / "files", TEXTS)
        _measure("extractive", Path(scratch) / "extractive", files, options.questions)
        with running_mock(Times()) as model:
            _measure(
                "mock model",
                Path(scratch) / "model",
                files,
                options.questions,
                LLM_BASE_URL=f"http://127.0.0.1:{model.port}/v1",
                LLM_MODEL="mock",
            )


def _measure(label: str, folder: Path, files: list[Path], questions: int, **environment: str) -> None:
    folder.mkdir()
    with running(DEFAULT_MODEL, folder, **environment) as site:
        owner, _ = site.ingest("known", files[:KNOWN])
        token = site.token(owner)
        _print(label, "idle", _asked(site, token, questions))
        uploading = threading.Thread(target=_upload, args=(site, files[KNOWN:], site.token("other")), daemon=True)
        uploading.start()
        _print(label, "during a bulk ingest", _asked(site, token, questions))


def _upload(site: Site, files: list[Path], token: str) -> None:
    with contextlib.suppress(httpx.HTTPError):  # the site ends with the last answer, whatever is still to come
        site.upload(files, token)


def _asked(site: Site, token: str, count: int) -> Result:
    questions = [f"What was decided in the year {1900 + number}?" for number in range(count)]
    return stream_in_turn(site.url, token, questions)


def _times(result: Result) -> str:
    values = sorted(result.first_token)
    p95 = values[int(0.95 * (len(values) - 1))]
    return f"first word p50 {statistics.median(values):.3f} s, p95 {p95:.3f} s ({len(values)} answers)"


def _print(label: str, state: str, result: Result) -> None:
    print(f"{label}, {state}: {_times(result)}", flush=True)


if __name__ == "__main__":
    main()
