"""How the places for documents follow the queue and the answers: a run that shows it.

    python -m tests.load.scaling --files 150 --askers 40
    make scaling

Starts a site of its own in a temporary folder and uploads many files; after a while people ask without a pause, and
later they stop. Prints when how many documents were worked on at once and why, as the worker tells it, and how many of
the files were processed in each part. Exits with 1 when the places did not grow, or did not shrink under the answers.
"""

import argparse
import re
import threading
import time

import httpx

from tests.instance import Instance
from tests.load.fairness import client_of, queue, running_site, rush, show, wait_for_all

PLACES = re.compile(r"documents at once: (\d+), were (\d+) \((.*)\)")
QUESTIONS = ("What does paragraph 2 say?", "Who says a little?", "What is many-7?", "How many paragraphs are there?")


def ask_until(over: threading.Event, client: httpx.Client, number: int) -> None:
    """One person who asks again as soon as an answer is there."""
    conversation = client.post("/api/v1/conversations", json={}).json()["id"]
    while not over.is_set():
        content = f"{QUESTIONS[number % len(QUESTIONS)]} ({time.monotonic()})"
        url = f"/api/v1/conversations/{conversation}/messages"
        client.post(url, json={"content": content, "fresh": True})


def askers(client: httpx.Client, count: int, seconds: float) -> None:
    over = threading.Event()
    threads = [threading.Thread(target=ask_until, args=(over, client, number)) for number in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    over.set()
    for thread in threads:
        thread.join()


def tell(site: Instance, started: float, over: threading.Event, found: list[tuple[int, int]]) -> None:
    """Print each change of the places as it comes, and keep it as a pair (before, after)."""
    while not over.is_set():
        changes = PLACES.findall(site.lines)
        for after, before, why in changes[len(found) :]:
            print(f"{time.monotonic() - started:6.1f} s: {before} → {after} documents at once ({why})", flush=True)
            found.append((int(before), int(after)))
        time.sleep(0.2)


def measure(site: Instance, files: int, people: int) -> bool:
    client = client_of(site, "many")
    client.timeout = httpx.Timeout(300)
    started, over = time.monotonic(), threading.Event()
    found: list[tuple[int, int]] = []
    teller = threading.Thread(target=tell, args=(site, started, over, found))
    teller.start()
    rush(client, files)
    show(f"{time.monotonic() - started:.0f} s: {files} files uploaded", queue(client))
    time.sleep(15)
    show(f"{time.monotonic() - started:.0f} s: {people} people begin to ask", queue(client))
    grown = len(found)
    askers(client, people, 60)
    show(f"{time.monotonic() - started:.0f} s: they stop", queue(client))
    quiet = len(found)
    wait_for_all(client)
    show(f"{time.monotonic() - started:.0f} s: all is processed", queue(client))
    over.set()
    teller.join()
    grew = any(after > before for before, after in found[:grown])
    shrank = any(after < before for before, after in found[grown:quiet])
    print(f"grew with the queue: {grew}; shrank under the answers: {shrank}")
    return grew and shrank


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=150)
    parser.add_argument("--askers", type=int, default=40)
    given = parser.parse_args()
    with running_site() as site:
        raise SystemExit(not measure(site, given.files, given.askers))


if __name__ == "__main__":
    main()
