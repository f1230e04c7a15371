"""What work costs, measured on the development machine (docs/performance-testing-strategy.md, docs/processing.md)."""

ANSWER_WEB_CORE_SECONDS = 0.0408
"""Of a streamed answer, the web processes' part (`make load PROFILE=chat USERS=100`, answer cache off)."""
READ_WEB_CORE_SECONDS = 0.015
"""Of the other requests of `mixed`: what is left of the machine's time, 19 to 25 ms a request, three quarters of it."""
KILOBYTE_CORE_SECONDS = 0.040
"""Of a kilobyte of text taken in, all processes (`make bench-ingest`: 37 to 44 s for 1,000 KB)."""
WORKER_SHARE = 0.84
"""Of it the worker with its encoder and sandbox; 11 % are PostgreSQL's."""
DATABASE_ANSWER_CORE_SECONDS = 0.0133
DATABASE_READ_CORE_SECONDS = 0.005
DATABASE_KILOBYTE_CORE_SECONDS = KILOBYTE_CORE_SECONDS * 0.11

WEB_CORES, WORKER_CORES = 1.0, 2.0
"""Of one replica, as the manifests ask for."""
ANSWER_SECONDS = 1.63
"""How long an answer is in flight where nothing is short: `mixed` at 100 users, of it 1.48 s the mock model's."""

WORKER_KILOBYTES_A_SECOND = WORKER_CORES / (KILOBYTE_CORE_SECONDS * WORKER_SHARE)


def web_cores(questions: float, reads: float) -> float:
    """The web processes' processor time, for so many a second."""
    return questions * ANSWER_WEB_CORE_SECONDS + reads * READ_WEB_CORE_SECONDS


def database_cores(questions: float, reads: float, kilobytes: float) -> float:
    """PostgreSQL's, for so many a second."""
    asked = questions * DATABASE_ANSWER_CORE_SECONDS + reads * DATABASE_READ_CORE_SECONDS
    return asked + kilobytes * DATABASE_KILOBYTE_CORE_SECONDS
