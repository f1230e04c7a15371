"""The pool of a worker for documents: Celery's threads, of which only so many may have a document in work.

Celery imports it before Django is ready, so nothing here knows a model.
"""

from typing import Any

from celery.concurrency.thread import TaskPool
from django.conf import settings


class Places:
    """How many documents may be in work at once in this process; as many as are configured until somebody says else."""

    def __init__(self) -> None:
        self._number: int | None = None

    @property
    def number(self) -> int:
        return settings.PROCESSING_PLACES if self._number is None else self._number

    @number.setter
    def number(self, number: int) -> None:
        self._number = number


places = Places()


class PlacedThreads(TaskPool):
    """Celery's pool of threads, made larger and smaller as `--autoscale` asks: the threads stay, the places change."""

    def __init__(self, limit: int, **options: Any) -> None:
        """``limit`` is where it begins; there are as many threads as may be needed."""
        super().__init__(settings.PROCESSING_PLACES, **options)
        places.number = limit

    @property
    def num_processes(self) -> int:
        return places.number

    def grow(self, n: int = 1) -> None:
        places.number += n

    def shrink(self, n: int = 1) -> None:
        """What is in work ends; less is begun."""
        places.number -= n
