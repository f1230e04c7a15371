"""People who are deactivated: their answers end at once."""

import logging
from typing import Any

from chat.answers import streams
from ragsite.accounts.signals import user_deactivated

logger = logging.getLogger(__name__)


def end_answers(**_signal: Any) -> None:
    """Called after the commit."""
    try:
        streams.request_check()
    except streams.RedisError:
        logger.warning("Valkey is down; answers of a deactivated person stop when their process next asks the database")


def connect() -> None:
    user_deactivated.connect(end_answers, dispatch_uid="chat.end_answers")
