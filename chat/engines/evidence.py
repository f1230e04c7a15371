"""Whether the sentences found answer the question at all."""

from collections.abc import Sequence

from chat.engines.base import Request
from chat.engines.candidates import Candidate


def is_answered(request: Request, found: Sequence[Candidate]) -> bool:
    return bool(found)
