"""How fast documents are taken in: the whole site against a plain llama-index pipeline and against the bare encoder.

    make bench-ingest
    python -m tests.load.ingest [--rounds 3] [--without-peer] [--texts 100] …

Everything in one run and in turn, because a machine is never twice the same: texts of 10 KB, PDFs of 20 pages and one
of 300, put in over HTTP. Prints documents and chunks a second, where the processor's time goes, memory, and ratios.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import httpx
import psycopg2

from ragsite.encoder.build import is_built
from ragsite.encoder.models import DEFAULT_MODEL
from ragsite.layout import PROJECT_DIR, Layout
from tests.instance import PROCESSES, Instance
from tests.load.corpus import pdfs, texts
from tests.load.peer import Peer, make_peer
from tests.load.process_tree import Usage, measured

MINILM = "all-MiniLM-L6-v2"
POLL_SECONDS = 0.1
PATIENCE = 900
COUNTS = """
SELECT count(*) FILTER (WHERE searchable), count(*) FILTER (WHERE status = 'processed'),
  count(*) FILTER (WHERE status = 'failed'), coalesce(sum(chunk_count), 0)
FROM documents_document JOIN accounts_user u ON u.id = owner_id WHERE u.username = %s
"""


@dataclass
class Run:
    """One round of one corpus through one site."""

    seconds: float
    searchable: float
    documents: int
    chunks: int
    usage: Usage


@dataclass
class Site:
    """A running instance with one of the models."""

    model: str
    instance: Instance
    rounds: int = 0
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    bare: dict[str, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))

    def ingest(self, corpus: str, files: Sequence[Path]) -> tuple[str, Run]:
        """Upload the files as a new owner, and wait until all are processed."""
        self.rounds += 1
        owner = f"round{self.rounds}"
        token = self.token(owner)
        with measured(self.parts, self.instance.process.pid) as usage:
            started = time.monotonic()
            self.upload(files, token)
            searchable, seconds, chunks = self._wait(owner, len(files), started)
        run = Run(seconds, searchable, len(files), chunks, usage)
        self.runs[corpus].append(run)
        return owner, run

    def parts(self) -> dict[str, int]:
        return {name: pid for name in PROCESSES if (pid := self.instance.pid_of(name))}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.instance.port}"

    def token(self, owner: str) -> str:
        """A token of this owner, who is made if need be."""
        return self.instance.manage("create_token", owner, "--create", "--name", "bench").stdout.split()[-1]

    def upload(self, files: Sequence[Path], token: str) -> None:
        url = f"{self.url}/api/v1/documents"
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False) as client:
            for path in files:
                with path.open("rb") as file:
                    client.post(url, files={"file": (path.name, file)}).raise_for_status()

    def _wait(self, owner: str, count: int, started: float) -> tuple[float, float, int]:
        searchable_after = 0.0
        with closing(psycopg2.connect(Layout(self.instance.folder).database_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while time.monotonic() - started < PATIENCE:
                    cursor.execute(COUNTS, [owner])
                    searchable, processed, failed, chunks = cursor.fetchone()
                    now = time.monotonic() - started
                    if failed:
                        raise RuntimeError(f"{failed} documents failed:\n{self.instance.lines[-2000:]}")
                    searchable_after = searchable_after or (now if searchable == count else 0.0)
                    if processed == count:
                        return searchable_after, now, chunks
                    time.sleep(POLL_SECONDS)
        raise RuntimeError(f"not processed after {PATIENCE} s:\n{self.instance.lines[-2000:]}")

    def bare_encoder(self, owner: str) -> dict[str, float]:
        """What the site has embedded for this owner, by the encoder alone."""
        command = [sys.executable, "-m", "tests.load.bare_encoder", owner, str(len(os.sched_getaffinity(0)))]
        environment = self.instance.environment | {"DJANGO_SETTINGS_MODULE": "ragsite.settings"}
        layout = Layout(self.instance.folder)
        environment |= {"DATABASE_URL": layout.database_url, "REDIS_URL": layout.redis_url}
        output = subprocess.run(
            command, env=environment, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True, check=True
        )
        found: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
        return found


@contextmanager
def running(model: str, folder: Path, **environment: str) -> Iterator[Site]:
    """A site of its own, as `manage.py up` starts it."""
    own = PROJECT_DIR / "var" / "models"
    if is_built(model, own):
        shutil.copytree(own / model, folder / "models" / model)
    settings = {"RAGSITE_WORKERS": "4", "RAGSITE_THROTTLE": "off", "EMBEDDING_MODEL": model}
    instance = Instance(folder, **settings, **environment)
    try:
        yield Site(model, instance.wait_until_ready())
    finally:
        instance.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--pdfs", type=int, default=20)
    parser.add_argument("--pages", type=int, default=300, help="of the one large PDF; 0: none")
    parser.add_argument("--models", nargs="*", default=[DEFAULT_MODEL, MINILM])
    parser.add_argument("--without-peer", action="store_true", help="no llama-index")
    parser.add_argument("--peer", type=Path, default=PROJECT_DIR / "var" / "bench-llama-index", help="its environment")
    options = parser.parse_args()
    peer = None if options.without_peer else make_peer(options.peer.absolute())
    with tempfile.TemporaryDirectory(prefix="ragsite-bench-") as scratch, ExitStack() as stack:
        corpora = _corpora(Path(scratch), options)
        models = [model for model in options.models if model == DEFAULT_MODEL or _has_minilm()]
        sites = [stack.enter_context(running(model, _folder(Path(scratch), model))) for model in models]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            for corpus, files in corpora.items():
                _round(corpus, files, sites, peer)
        _report(corpora, sites)


def _has_minilm() -> bool:
    if find_spec("tokenizers") and find_spec("safetensors"):
        return True
    print(f"{MINILM} is left out: it needs pip install -r requirements-minilm.txt")
    return False


def _folder(scratch: Path, name: str) -> Path:
    folder = scratch / name
    folder.mkdir()
    return folder


def _corpora(scratch: Path, options: argparse.Namespace) -> dict[str, list[Path]]:
    made: dict[str, Callable[[Path], list[Path]]] = {
        "texts of 10 KB": lambda folder: texts(folder, options.texts),
        "PDFs of 20 pages": lambda folder: pdfs(folder, options.pdfs, 20),
        "PDF of 300 pages": lambda folder: pdfs(folder, 1, options.pages) if options.pages else [],
    }
    found = {name: make(_folder(scratch, name)) for name, make in made.items()}
    return {name: files for name, files in found.items() if files}


PEER_RUNS: dict[str, list[dict[str, float]]] = defaultdict(list)


def _round(corpus: str, files: list[Path], sites: list[Site], peer: Peer | None) -> None:
    for site in sites:
        owner, run = site.ingest(corpus, files)
        bare = site.bare_encoder(owner)
        site.bare[corpus].append(bare)
        print(
            f"  {corpus}, {site.model}: {run.seconds:.1f} s, searchable after {run.searchable:.1f} s,"
            f" {run.chunks} chunks, cpu {run.usage.cpu_total:.1f} s; bare encoder {bare['seconds']:.1f} s,"
            f" cpu {bare['cpu']:.1f} s ({bare['texts']:.0f} texts, {bare['tokens']:.0f} tokens)",
            flush=True,
        )
    if peer:
        found = peer.run(files[0].parent)
        PEER_RUNS[corpus].append(found)
        print(f"  {corpus}, llama-index: {found['seconds']:.1f} s, {found['chunks']:.0f} chunks", flush=True)


def _report(corpora: dict[str, list[Path]], sites: list[Site]) -> None:
    for corpus, files in corpora.items():
        print(f"\n{len(files)} {corpus}")
        for site in sites:
            _report_site(corpus, site)
        if peers := PEER_RUNS[corpus]:
            speed = _speed([run["seconds"] for run in peers], len(files), peers[0]["chunks"])
            print(f"  llama-index, {MINILM}: {speed}; memory {peers[0]['peak_bytes'] / 1e6:.0f} MB")


def _speed(seconds: Sequence[float], documents: int, chunks: float) -> str:
    middle = statistics.median(seconds)
    return f"{_spread(seconds)} s, {documents / middle:.2f} documents/s, {chunks / middle:.1f} chunks/s"


def _report_site(corpus: str, site: Site) -> None:
    runs = site.runs[corpus]
    print(f"  ragsite, {site.model}: {_speed([run.seconds for run in runs], runs[0].documents, runs[0].chunks)}")
    print(f"    searchable by words after {_spread([run.searchable for run in runs])} s")
    print(f"    memory of all processes {max(run.usage.peak_bytes for run in runs) / 1e6:.0f} MB")
    cpu = {name: statistics.median(run.usage.cpu[name] for run in runs) for name in PROCESSES}
    total = sum(cpu.values())
    used = sorted(cpu.items(), key=lambda entry: -entry[1])
    parts = ", ".join(f"{name} {part:.1f} s ({part / total:.1%})" for name, part in used)
    print(f"    processor time {total:.1f} s: {parts}")
    _print_ratios("of the bare encoder's speed", list(zip(site.bare[corpus], runs, strict=True)))
    _print_ratios("times llama-index", list(zip(PEER_RUNS[corpus], runs, strict=False)))


def _print_ratios(label: str, pairs: list[tuple[dict[str, float], Run]]) -> None:
    """By the clock, and by processor time, which other work on the machine disturbs less."""
    if pairs:
        by_clock = _spread([other["seconds"] / run.seconds for other, run in pairs])
        by_cpu = _spread([other["cpu"] / run.usage.cpu_total for other, run in pairs])
        print(f"    {label}: {by_clock} by the clock, {by_cpu} by processor time")


def _spread(values: Sequence[float]) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    main()
