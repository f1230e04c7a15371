"""What a model writes on the way to an answer, and nobody reads: a rewritten question, notes of a part."""

import time

from chat.answers.draft import Draft
from chat.answers.running import RunningAnswer, StopFlag, Stopped, StopReason
from chat.answers.writer import Writer
from ragsite.fields import new_id


class Deadline(StopFlag):
    """Set when another flag is, or when a time has passed."""

    def __init__(self, other: StopFlag, seconds: float) -> None:
        super().__init__()
        self._other = other
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        self._other.check()
        if self.is_set():
            raise Stopped(StopReason.STOPPED)

    def wait(self, seconds: float) -> None:
        self._other.wait(max(0.0, min(seconds, self._end - time.monotonic())))
        self.check()

    def is_set(self) -> bool:
        return self._other.is_set() or time.monotonic() >= self._end


def aside(owner_id: int, stop: StopFlag) -> tuple[Writer, Draft]:
    """A writer whose answer is never stored or shown, and what it fills."""
    answer = RunningAnswer(new_id(), owner_id, stored=False)
    answer.stop = stop
    draft = Draft()
    return Writer(answer, draft), draft
