"""One run: a site of its own, its accounts, the killer, the rest, the checks."""

import json
import os
import random
import re
import shutil
import statistics
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

from ragsite.layout import PROJECT_DIR
from tests.instance import Instance, descendants
from tests.load.mock_model import Times, running_mock
from tests.torture.killer import Killer, ill_parts
from tests.torture.people import Over, Person

SETTLE_SECONDS = 420
LEASE_SECONDS = "8"
MOST_GROWTH_MEGABYTES = 20
TROUBLE = re.compile(r"failed by a fault of the site|Internal Server Error|PANIC|the clock has stopped")


class Torture:
    """``wrong`` holds what should not be."""

    def __init__(self, folder: Path, seed: int, people: int, pause: tuple[float, float]) -> None:
        self.folder = folder
        self.over = threading.Event()
        self.wrong: list[str] = []
        self.lines: list[str] = []
        self.model = running_mock(Times(first=100, delay=15, tokens=60, beat=10))
        self.site = self._start_site()
        self.people = [self._person(number, random.Random(f"{seed}-{number}")) for number in range(people)]
        self.killer = Killer(self.site, random.Random(seed), pause, self.over)
        self.supervisor = psutil.Process(self.site.process.pid)

    def _start_site(self) -> Instance:
        """With a folder for temporary files of its own, to see what is left there."""
        data, temporary = self.folder / "var", self.folder / "tmp"
        data.mkdir()
        temporary.mkdir(mode=0o700)
        if (made := PROJECT_DIR / "var" / "models").is_dir():
            shutil.copytree(made, data / "models")
        server = self.model.__enter__()
        environment = {
            "TMPDIR": str(temporary),
            "RAGSITE_LEASE_SECONDS": LEASE_SECONDS,
            "RAGSITE_WORKERS": "2",
            "RAGSITE_THROTTLE": "off",
            "LLM_BASE_URL": f"http://127.0.0.1:{server.port}/v1",
            "LLM_MODEL": "mock",
        }
        return Instance(data, **environment).wait_until_ready()

    def _person(self, number: int, chance: random.Random) -> Person:
        token = self.site.manage("create_token", f"person{number}", "--create", "--name", "torture").stdout.strip()
        return Person(f"http://127.0.0.1:{self.site.port}", token, chance, self.over)

    # --- The run ------------------------------------------------------------------------------------------------------
    def run(self, seconds: float) -> None:
        before = self._size()
        threads = [person.thread for person in self.people] + [self.killer.thread]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.over.set()
        for thread in threads:
            thread.join()
        self._settle()
        self._compare_ledgers()
        self._audit()
        self._compare_size(before)
        self._read_log()

    def _settle(self) -> None:
        """All is done and well in time, once failures that ask for another try have had it."""
        started = time.monotonic()
        while (left := self._unfinished()) and time.monotonic() - started < SETTLE_SECONDS:
            time.sleep(1)
        self.lines.append(f"came to rest in {time.monotonic() - started:.0f} s")
        if left:
            self.wrong.append(f"not at rest after {SETTLE_SECONDS} s: {left}")

    def _unfinished(self) -> dict[str, object]:
        if ill := ill_parts(self.site):
            return {"ill": sorted(ill)}
        states: Counter[str] = Counter()
        for person in self.people:
            for identifier, document in person.listed().items():
                states[document["status"]] += 1
                if document["error"] and document["error"]["retryable"]:
                    states["retried"] += 1
                    self.lines.append(f"retried: {document['filename']} {document['error']['code']}")
                    person.call("POST", f"/api/v1/documents/{identifier}/retry")
        return {name: number for name, number in states.items() if name not in {"processed", "failed"}}

    # --- The checks ---------------------------------------------------------------------------------------------------
    def _compare_ledgers(self) -> None:
        for person in self.people:
            try:
                self._compare_ledger(person)
            except Over:
                pass
            self.wrong += person.wrong
        self.wrong += self.killer.wrong

    def _compare_ledger(self, person: Person) -> None:
        ledger, listed = person.ledger, person.listed()
        for identifier, file in ledger.documents.items():
            if identifier not in listed:
                self.wrong.append(f"{file.name} was accepted and is gone")
            elif file.word and listed[identifier]["status"] != "processed":
                self.wrong.append(f"{file.name} failed: {listed[identifier]['error']}")
            elif file.word and not person.finds(identifier):
                self.wrong.append(f"{file.name} is processed and not found")
        for identifier, document in listed.items():
            if identifier in ledger.deleted and identifier not in ledger.documents:
                self.wrong.append(f"{document['filename']} was deleted and is there")
            elif identifier not in ledger.documents and document["filename"] not in ledger.doubtful:
                self.wrong.append(f"{document['filename']} was never accepted and is there")
        for identifier in ledger.answers:
            if person.call("GET", f"/api/v1/messages/{identifier}").status_code != 200:
                self.wrong.append(f"the answer {identifier} was begun and is gone")

    def _audit(self) -> None:
        code = "from tests.torture.audit import report; report()"
        done = self.site.manage("shell", "-v0", "-c", code)
        try:
            found = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            self.wrong.append(f"the audit failed: {done.stderr[-2000:]}")
            return
        self.wrong += found["wrong"]
        self.lines += [f"{found['swept']} leftovers of killed requests were swept", json.dumps(found["counts"])]

    def _size(self) -> tuple[float, int]:
        return self.supervisor.memory_info().rss / 1e6, self.supervisor.num_fds()

    def _compare_size(self, before: tuple[float, int]) -> None:
        (megabytes, descriptors), (first_megabytes, first_descriptors) = self._size(), before
        self.lines.append(
            f"supervisor: {first_megabytes:.1f} → {megabytes:.1f} MB, {first_descriptors} → {descriptors} descriptors"
        )
        if megabytes - first_megabytes > MOST_GROWTH_MEGABYTES or descriptors > first_descriptors:
            self.wrong.append("the supervisor has grown")
        zombies = [child.pid for child in self.supervisor.children() if child.status() == psutil.STATUS_ZOMBIE]
        if zombies:
            self.wrong.append(f"{len(zombies)} zombies")
        if strays := self._strays():
            self.wrong.append(f"processes that nobody looks after: {strays}")

    def _strays(self) -> list[str]:
        """Processes with the site's folder in their environment that do not descend from its supervisor."""
        family = descendants(self.supervisor.pid) | {self.supervisor.pid, os.getpid()}
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid not in family and process.environ().get("RAGSITE_DATA_DIR") == str(self.site.folder):
                    found.append(" ".join(process.cmdline()[-4:]))
            except psutil.Error:
                pass
        return found

    def _read_log(self) -> None:
        troubles = Counter(line for line in self.site.lines.splitlines() if TROUBLE.search(line))
        self.wrong += [f"the log says {number} times: {line}" for line, number in troubles.most_common(10)]

    # --- The end ------------------------------------------------------------------------------------------------------
    def end(self, log: Path | None) -> None:
        self.over.set()
        if log:
            shutil.copy(self.site.log, log)
        self.site.end()
        self.model.__exit__(None, None, None)
        if left := sorted(path.name for path in (self.folder / "tmp").iterdir()):
            self.wrong.append(f"temporary files are left: {left}")

    def report(self) -> str:
        answers: Counter[str] = sum((person.answers for person in self.people), Counter())
        accepted = sum(len(person.ledger.documents) + len(person.ledger.deleted) for person in self.people)
        killed = [
            f"  {kind:18} {number:4}   recovered in {_spread(self.killer.recovered.get(kind, []))}"
            for kind, number in sorted(self.killer.killed.items())
        ]
        return "\n".join([
            f"killed {self.killer.killed.total()} times:", *killed,
            f"answers to the accounts: {dict(answers.most_common())}",
            f"documents accepted: {accepted}",
            *self.lines,
            *(["", f"WRONG ({len(self.wrong)}):", *self._wrong_once()] if self.wrong else ["nothing wrong"]),
        ])  # fmt: skip

    def _wrong_once(self) -> list[str]:
        return [f"{number} × {what}" if number > 1 else what for what, number in Counter(self.wrong).items()]


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    return f"{statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s (at most)"
