"""Who is computed next: queries before passages, and passages in turn between the requests that brought them.

Each lane has threads of its own, as many as there are cores. Those of the passages run at a low priority of the
operating system, so that a query does not even wait for the text that is being computed; where that cannot be had, it
waits for one text at most, since no passage is begun while a query waits.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ragsite.encoder.models import InputType

Result = TypeVar("Result")

PASSAGE_NICENESS = 10
"""A tenth of the share of a query, of the web workers and of the database when all want the cores."""
LANES: tuple[InputType, ...] = ("query", "passage")


class Job(Generic[Result]):
    """The texts of one request, and what has come of them so far."""

    def __init__(
        self, texts: Sequence[str], input_type: InputType, on_end: Callable[[], object], urgent: bool = False
    ) -> None:
        """``on_end`` is called once, from a thread of the scheduler, when all is done or one text has failed.

        Passages that somebody waits for are ``urgent``: they go with the queries.
        """
        self.input_type = input_type
        self.lane: InputType = "query" if urgent else input_type
        self.error: BaseException | None = None
        self._texts = texts
        self._results: list[Result | None] = [None] * len(texts)
        self._begun = 0
        self._done = 0
        self._on_end = on_end

    @property
    def results(self) -> list[Result]:
        """One a text, in order; only when the job has ended without an error."""
        return [result for result in self._results if result is not None]

    @property
    def waiting(self) -> int:
        """How many texts have not been begun."""
        return len(self._texts) - self._begun

    def begin_next(self) -> tuple[int, str]:
        index = self._begun
        self._begun += 1
        return index, self._texts[index]

    def drop_rest(self) -> None:
        self._begun = len(self._texts)

    def finish(self, index: int, result: Result) -> bool:
        """Keep a result; whether it was the last."""
        self._results[index] = result
        self._done += 1
        return self._done == len(self._texts)

    def end(self) -> None:
        self._on_end()


class Scheduler(Generic[Result]):
    """Computes the texts of jobs in threads."""

    def __init__(self, compute: Callable[[str, InputType], Result], threads: int) -> None:
        self._compute = compute
        self._threads = threads
        self._changed = threading.Condition()
        self._lanes: dict[InputType, deque[Job[Result]]] = {lane: deque() for lane in LANES}

    def start(self) -> None:
        """Start the threads; they are daemons and end with the process."""
        for lane in LANES:
            for number in range(self._threads):
                name = f"{lane}-{number}"
                threading.Thread(target=self._work, args=(lane,), name=name, daemon=True).start()

    def submit(self, job: Job[Result]) -> None:
        """Queue a job of one text at least."""
        with self._changed:
            self._lanes[job.lane].append(job)
            self._changed.notify_all()

    def cancel(self, job: Job[Result]) -> None:
        """Begin no more of the job's texts. What is being computed ends unheard."""
        with self._changed:
            self._discard(job)
            self._changed.notify_all()

    def waiting(self) -> dict[InputType, int]:
        """How many texts wait in each lane."""
        with self._changed:
            return {lane: sum(job.waiting for job in jobs) for lane, jobs in self._lanes.items()}

    def _work(self, lane: InputType) -> None:
        if lane == "passage":
            _lower_priority_of_this_thread()
        while True:
            job, index, text = self._take(lane)
            self._run(job, index, text)

    def _take(self, lane: InputType) -> tuple[Job[Result], int, str]:
        """The next text of the job whose turn it is; that job then goes to the end of the line."""
        with self._changed:
            self._changed.wait_for(lambda: self._may_begin(lane))
            job = self._lanes[lane].popleft()
            index, text = job.begin_next()
            if job.waiting:
                self._lanes[lane].append(job)
            if lane == "query":
                self._changed.notify_all()  # the passages may have waited for this one to begin
            return job, index, text

    def _may_begin(self, lane: InputType) -> bool:
        return bool(self._lanes[lane]) and (lane == "query" or not self._lanes["query"])

    def _run(self, job: Job[Result], index: int, text: str) -> None:
        try:
            result = self._compute(text, job.input_type)
        except Exception as error:
            self._fail(job, error)
            return
        with self._changed:
            was_last = job.finish(index, result)
        if was_last:
            job.end()

    def _fail(self, job: Job[Result], error: Exception) -> None:
        with self._changed:
            is_first = job.error is None
            job.error = job.error or error
            self._discard(job)
        if is_first:
            job.end()

    def _discard(self, job: Job[Result]) -> None:
        job.drop_rest()
        if job in self._lanes[job.lane]:
            self._lanes[job.lane].remove(job)


def _lower_priority_of_this_thread() -> None:
    """On Linux alone a thread has a priority of its own; elsewhere this would slow the whole process."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PASSAGE_NICENESS)
