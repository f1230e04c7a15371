"""How the readers of an answer learn that it is over: name and data of its last event."""

from typing import Any

from chat.answers.events import DONE, ERROR
from chat.models import Message

Ending = tuple[str, dict[str, Any]]

INTERRUPTED = {"code": "interrupted", "detail": "The answer was interrupted; what was written until then is kept."}
DELETED: Ending = (ERROR, {"code": "deleted", "detail": "The conversation was deleted."})
FORBIDDEN: Ending = (ERROR, {"code": "account_deactivated", "detail": "The account was deactivated."})
NOT_STORED: Ending = (ERROR, {"code": "not_stored", "detail": "The answer could not be stored."})


def of_message(message: dict[str, Any]) -> Ending:
    """Given the answer as JSON. One that was stopped is done: its reader wanted no more."""
    if message["status"] == Message.Status.FAILED:
        return ERROR, {**message["error"], "message": message}
    if message["status"] == Message.Status.INTERRUPTED:
        return ERROR, {**INTERRUPTED, "message": message}
    return DONE, {"message": message}
