"""Every metric that the code counts. Labels take few values: names of the code and of the settings, never of people.

With ``PROMETHEUS_MULTIPROC_DIR`` (`manage.py up` sets it) each process counts in files there, and any of them can
tell the sum; without it each process tells its own.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Histogram


def folder() -> str | None:
    """Where all processes count. Made again where somebody has tidied it away: only counts are lost."""
    configured = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if configured:
        os.makedirs(configured, mode=0o700, exist_ok=True)
    return configured


folder()
REGISTRY = CollectorRegistry()

CHAT_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 20, 60)
"""Seconds; the level's limits are among them, or the percentiles of Prometheus would be wrong where it counts."""
QUICK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10)
WORK_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)

REQUESTS = Counter(
    "ragsite_requests", "Requests by the view that answered.", ["view", "method", "status"], registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "ragsite_request_seconds",
    "Until a response began; of streams their headers.",
    ["view"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
ANSWERS = Counter("ragsite_answers", "Answers that ended, by how.", ["outcome"], registry=REGISTRY)
ANSWER_FAILURES = Counter("ragsite_answer_failures", "Answers that failed, by the error's code.", ["code"],
                          registry=REGISTRY)  # fmt: skip
ANSWER_SECONDS = Histogram(
    "ragsite_answer_seconds",
    "From the question's arrival until the whole answer was stored.",
    buckets=CHAT_BUCKETS,
    registry=REGISTRY,
)
FIRST_EVENT_SECONDS = Histogram(
    "ragsite_answer_first_event_seconds",
    "From the question's arrival until the first event of the answer's stream.",
    buckets=QUICK_BUCKETS,
    registry=REGISTRY,
)
FIRST_TOKEN_SECONDS = Histogram(
    "ragsite_answer_first_token_seconds",
    "From the question's arrival until the answer's first words.",
    buckets=CHAT_BUCKETS,
    registry=REGISTRY,
)
ADDED_SECONDS = Histogram(
    "ragsite_answer_added_seconds",
    "The first words' time without the model's own: what the site adds.",
    buckets=QUICK_BUCKETS,
    registry=REGISTRY,
)
RETRIEVAL_SECONDS = Histogram(
    "ragsite_retrieval_seconds", "Parts of a retrieval.", ["part"], buckets=QUICK_BUCKETS, registry=REGISTRY
)
DOCUMENTS = Counter("ragsite_documents", "Documents that ended, by how.", ["outcome"], registry=REGISTRY)
DOCUMENT_SECONDS = Histogram(
    "ragsite_document_seconds",
    "From the upload (or a restart) until a document was processed.",
    buckets=WORK_BUCKETS,
    registry=REGISTRY,
)
STAGE_SECONDS = Histogram(
    "ragsite_stage_seconds", "Stages of a document's processing.", ["stage"], buckets=WORK_BUCKETS, registry=REGISTRY
)
QUERY_SECONDS = Histogram("ragsite_query_seconds", "Statements to the database.", buckets=QUICK_BUCKETS,
                          registry=REGISTRY)  # fmt: skip
SLOW_QUERIES = Counter("ragsite_slow_queries", "Statements of 100 ms and more.", ["statement"], registry=REGISTRY)
READS = Counter(
    "ragsite_replica_reads",
    "Reads that a replica may serve, by the server; and why it was the primary.",
    ["server", "why"],
    registry=REGISTRY,
)
MODEL_CALLS = Counter("ragsite_model_calls", "Calls of language models.", ["model", "outcome"], registry=REGISTRY)
MODEL_FIRST_TOKEN_SECONDS = Histogram(
    "ragsite_model_first_token_seconds", "Until a model's first token.", ["model"], buckets=CHAT_BUCKETS,
    registry=REGISTRY,
)  # fmt: skip
MODEL_SECONDS = Histogram(
    "ragsite_model_seconds", "Whole calls of a model.", ["model"], buckets=CHAT_BUCKETS, registry=REGISTRY
)
MODEL_TOKENS = Counter("ragsite_model_tokens", "Tokens of models.", ["model", "kind"], registry=REGISTRY)


def open_files() -> None:
    """Now, rather than within a request: histograms without labels have opened theirs, this is that of the counters."""
    ANSWERS.labels("complete")
