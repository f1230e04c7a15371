"""What answers and models took, for the metrics and the service level."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chat.answers.draft import Draft
from chat.answers.running import RunningAnswer, Stopped
from chat.answers.writer import Writer
from chat.models import Message
from ragsite import tracing
from ragsite.metrics import record


def note_ending(answer: RunningAnswer, draft: Draft) -> None:
    """How an answer ended, and after how long; one that is cut off by a stop of the site counts as failed."""
    if draft.status == Message.Status.COMPLETE:
        record.answer_complete(answer.age)
        _note_first_token(answer, draft)
    elif draft.status == Message.Status.STOPPED:
        record.answer_ended("stopped")
    else:
        record.answer_ended("failed", draft.error_code or str(draft.status))
    tracing.annotate(status=str(draft.status), passages=len(draft.passages))


def _note_first_token(answer: RunningAnswer, draft: Draft) -> None:
    if "first_token" in draft.timings:
        waited_before = draft.started - answer.origin.arrived
        record.first_token(waited_before + draft.timings["first_token"], of_model=draft.model_seconds)


@dataclass
class ModelCall:
    """One call of a model. The first token is what its server sends first, not when readers see it."""

    started: float = field(default_factory=time.monotonic)
    first_token_at: float | None = None

    def token_came(self) -> None:
        self.first_token_at = self.first_token_at or time.monotonic()


@contextmanager
def model_call(model: str, writer: Writer) -> Iterator[ModelCall]:
    """Measures a call; what is raised in it is its outcome."""
    call, outcome = ModelCall(), "ok"
    try:
        with tracing.span("model", model=model):
            yield call
    except Stopped:
        outcome = "stopped"
        raise
    except Exception as error:
        outcome = str(getattr(error, "code", type(error).__name__))
        raise
    finally:
        record.model_call(model, outcome, time.monotonic() - call.started)
        if call.first_token_at is not None:
            record.model_first_token(model, call.first_token_at - call.started)
            writer.waited_for_model(call.first_token_at - call.started)
