"""Fill the site with made accounts, documents and conversations."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from tqdm import tqdm

from chat.models import Conversation, MessageBody
from chat.seeding.accounts import issue_tokens, make_owners
from chat.seeding.indexes import drop_vector_indexes, drop_word_indexes, make_missing_indexes, refresh_statistics
from chat.seeding.libraries import Library
from chat.seeding.talks import Talks
from documents.models import Chunk, Document

LOCK = "SELECT pg_try_advisory_lock(hashtextextended('seed', 0))"
UNLOCK = "RESET synchronous_commit; SELECT pg_advisory_unlock(hashtextextended('seed', 0))"


class Command(BaseCommand):
    """Numbers are totals of the accounts named ``seed-…``: run again, it makes what is missing."""

    help = (
        "Fill a site for measurements: accounts seed-00001, seed-00002… of which the first have most. The numbers are "
        "totals, so a run that was stopped goes on when it is repeated. The documents have texts and no files. While "
        "many rows are made the indexes of words are away: not for a site that people use."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name, default in (
            ("owners", 100), ("documents", 1000), ("chunks", 10_000), ("conversations", 1000), ("messages", 10_000),
        ):  # fmt: skip
            parser.add_argument(f"--{name}", type=int, default=default, help=f"in all (default: {default:,})")
        parser.add_argument(
            "--embeddings",
            action="store_true",
            help="with vectors: slightly moved copies of the encoder's own of the few sentences that the texts are "
            "made of (the site must be running)",
        )
        parser.add_argument("--password", help="of all the accounts (default: they have none)")
        parser.add_argument("--tokens", type=int, help="print a new API token of each of the first N accounts, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["owners"] < 1:
            raise CommandError("--owners must be at least 1.")
        with connection.cursor() as cursor:
            cursor.execute(LOCK)
            if not cursor.fetchone()[0]:
                raise CommandError("Another seeding is running on this database.")
            try:
                cursor.execute("SET synchronous_commit = off")  # what a crash loses is made again
                self._fill(make_owners(options["owners"], options["password"]), options)
            finally:
                cursor.execute(UNLOCK)
        if options["tokens"]:
            self.stdout.write(json.dumps(issue_tokens(options["tokens"]), indent=1))

    def _fill(self, owners: list[int], options: dict[str, Any]) -> None:
        started = time.monotonic()
        library = Library.missing(owners, options["documents"], options["chunks"], options["embeddings"])
        talks = Talks.missing(owners, options["conversations"], options["messages"])
        drop_word_indexes({
            Document: library.documents, Chunk: library.chunks, Conversation: talks.conversations,
            MessageBody: talks.messages,
        })  # fmt: skip
        if library.embeddings:
            drop_vector_indexes(library.chunks)
        self._show("chunks", library.chunks if library.documents else 0, library.make())
        self._show("messages", talks.messages if talks.conversations else 0, talks.make())
        self.stderr.write("indexes and statistics …")
        make_missing_indexes()
        refresh_statistics()
        self.stderr.write(f"done in {time.monotonic() - started:.0f} s")

    def _show(self, label: str, total: int, made: Iterator[int]) -> None:
        with tqdm(total=total, desc=label, unit="", file=self.stderr, disable=not total) as bar:
            for count in made:
                bar.update(count)
