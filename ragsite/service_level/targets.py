"""What the site promises, as data: for the page, `manage.py sla`, alert rules and load tests. Knows no Django."""

from dataclasses import dataclass
from enum import StrEnum

from ragsite.service_level.sketch import Sketch


class Indicator(StrEnum):
    """What is measured all the time. A row may have a subject too: a stage, a keyspace, a statement, a model."""

    ANSWER = "answer"  # from the arrival of the question until the answer is whole
    FIRST_EVENT = "first_event"  # until the first event of its stream
    FIRST_TOKEN = "first_token"  # noqa: S105  (until its first words)
    ADDED = "added"  # the same without the model's own time
    DOCUMENT = "document"  # from the upload until it is processed
    REQUEST = "request"  # any request, until its headers
    USERS = "users"  # people with a request in that minute
    STAGE = "stage"
    RETRIEVAL = "retrieval"
    MODEL = "model"  # until the model's first token
    QUERY = "query"  # slow ones alone
    VIEW = "view"  # slow requests alone


class Statistic(StrEnum):
    AVERAGE = "average"
    P95 = "p95"
    P99 = "p99"
    ERRORS = "errors"  # the share of what failed
    HELD = "held"  # the most at once


PERCENT = {Statistic.P95: 95.0, Statistic.P99: 99.0}


@dataclass(frozen=True)
class Target:
    """Something that must stay below ``limit`` (of people at once: that the site holds so many).

    An ``aim`` is told and not asked for: missing it is no failure.
    """

    name: str
    title: str
    indicator: Indicator
    statistic: Statistic
    limit: float
    aim: bool = False

    @property
    def is_time(self) -> bool:
        return self.statistic not in (Statistic.ERRORS, Statistic.HELD)

    def value(self, measured: Sketch) -> float | None:
        """Its present value; None while nothing was measured."""
        if self.statistic is Statistic.HELD:
            return measured.highest or None
        if self.statistic is Statistic.ERRORS:
            return measured.error_share
        if self.statistic is Statistic.AVERAGE:
            return measured.average
        return measured.percentile(PERCENT[self.statistic])

    def is_met_by(self, value: float) -> bool:
        """How many people came is not the site's doing: fewer than the limit miss nothing."""
        return self.statistic is Statistic.HELD or value < self.limit

    def budget_left(self, measured: Sketch) -> float | None:
        """Which share is left of what may go wrong (be slow, fail, take time); below 0 it is overdrawn."""
        if self.value(measured) is None or self.statistic is Statistic.HELD:
            return None
        if self.statistic is Statistic.ERRORS:
            return 1 - (measured.error_share or 0) / self.limit
        if self.statistic is Statistic.AVERAGE:
            return 1 - (measured.average or 0) / self.limit
        return 1 - measured.share_above(self.limit) / (1 - PERCENT[self.statistic] / 100)


CHAT_SECONDS = 3.0
PROCESSING_SECONDS = 300.0
ADDED_SECONDS = 0.1
ERROR_SHARE = 0.001
CONCURRENT_USERS = 100
OLDEST_SECONDS = PROCESSING_SECONDS
"""A document that waits longer for its first turn will miss the level."""

TARGETS = (
    Target("chat_average", "Answers, average", Indicator.ANSWER, Statistic.AVERAGE, CHAT_SECONDS),
    Target("chat_p95", "Answers, 95 of 100", Indicator.ANSWER, Statistic.P95, CHAT_SECONDS),
    Target("chat_p99", "Answers, 99 of 100", Indicator.ANSWER, Statistic.P99, CHAT_SECONDS),
    Target("chat_errors", "Answers that failed", Indicator.ANSWER, Statistic.ERRORS, ERROR_SHARE),
    Target("processing_average", "Documents, average", Indicator.DOCUMENT, Statistic.AVERAGE, PROCESSING_SECONDS),
    Target("processing_p95", "Documents, 95 of 100", Indicator.DOCUMENT, Statistic.P95, PROCESSING_SECONDS),
    Target("processing_errors", "Documents that the site failed", Indicator.DOCUMENT, Statistic.ERRORS, ERROR_SHARE),
    Target("request_errors", "Requests that failed", Indicator.REQUEST, Statistic.ERRORS, ERROR_SHARE),
    Target("users", "People at once", Indicator.USERS, Statistic.HELD, CONCURRENT_USERS),
    Target("added_p95", "The site's own part of the first word, 95 of 100", Indicator.ADDED, Statistic.P95,
           ADDED_SECONDS, aim=True),
)  # fmt: skip
