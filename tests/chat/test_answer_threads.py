"""The threads that answers are written in."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from queue import SimpleQueue

import pytest

from chat.answers import threads as module
from chat.answers.threads import Threads

SECONDS = 30
said: ContextVar[str] = ContextVar("said", default="")


def written(threads: Threads, task: Callable[[], object]) -> object:
    """What a task gives that was run there."""
    given: SimpleQueue[object] = SimpleQueue()
    threads.run(lambda: given.put(task()))
    return given.get(timeout=SECONDS)


def rested(threads: Threads, count: int = 1) -> None:
    """Wait until so many have nothing to do."""
    pause = threading.Event()
    while threads._idle < count:
        pause.wait(0.001)


def test_a_thread_writes_one_answer_after_another() -> None:
    threads = Threads()
    first = written(threads, threading.get_ident)
    rested(threads)
    assert written(threads, threading.get_ident) == first


def test_there_are_as_many_threads_as_answers_at_once() -> None:
    threads, everybody = Threads(), threading.Barrier(6)
    for _ in range(2):
        for _ in range(5):
            threads.run(lambda: (everybody.wait(SECONDS), None)[1])
        everybody.wait(SECONDS)  # none of them waits for another one to end
        rested(threads, 5)
    assert threads._idle == 5


def test_an_answer_sees_nothing_of_the_one_before() -> None:
    threads = Threads()
    written(threads, lambda: said.set("of another"))
    rested(threads)
    assert written(threads, said.get) == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_that_fails_takes_its_thread_along_and_no_other() -> None:
    threads, failed = Threads(), threading.Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError

    threads.run(fail)
    assert failed.wait(SECONDS)
    assert written(threads, lambda: "written") == "written"


def test_threads_that_waited_long_enough_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    threads = Threads()
    thread = written(threads, threading.current_thread)
    assert isinstance(thread, threading.Thread)
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert threads._idle == 0
    assert written(threads, lambda: "written") == "written"


def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = module.threads()
    monkeypatch.setattr(module.os, "getpid", lambda: -1)
    monkeypatch.setattr(module, "_threads", dict(module._threads))
    assert module.threads() is not here
