"""The threads that answers are written in, one after another.

A new thread begins with nothing: its connection's wrapper and its stemmers, made anew for each answer, were 0.3 ms of
processor time. They are daemons and not a ThreadPoolExecutor's, for whose threads the interpreter waits when it ends.
"""

import os
import threading
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue

IDLE_SECONDS = 30.0
"""For how long a thread waits for the next answer."""

Task = Callable[[], None]


class Threads:
    """As many as there are tasks at once. Each task begins with an empty context, as it would in a new thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._idle = 0
        """Those that wait, but for those whose task lies ready."""

    def run(self, task: Task) -> None:
        """Returns at once. Raises RuntimeError or MemoryError where no thread can be had."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._tasks.put(task)
                return
        threading.Thread(target=self._work, args=(task,), name="answer-writer", daemon=True).start()

    def _work(self, first: Task) -> None:
        task: Task | None = first
        del first
        while task:
            Context().run(task)
            del task  # while the thread waits, nothing keeps an answer in memory
            task = self._next()

    def _next(self) -> Task | None:
        """None when it is time to go."""
        with self._lock:
            self._idle += 1
        while True:
            try:
                return self._tasks.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle:  # else all that wait are counted upon
                        self._idle -= 1
                        return None


_threads: dict[int, Threads] = {}


def threads() -> Threads:
    """This process's: a forked child does not have its parent's."""
    return _threads.setdefault(os.getpid(), Threads())
