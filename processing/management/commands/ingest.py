"""manage.py ingest PATH…: files and folders into a library, processed."""

import argparse
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseProblem
from django.db import connection
from tqdm import tqdm

from documents.models import Collection, Document
from documents.services import save_collection
from processing.ingesting import Outcome, files_below, progress_of, question_sets_below, upload_files, working
from ragsite.accounts.models import User
from ragsite.accounts.owners import UnknownOwner, command_owner

POLL_SECONDS = 0.5
ASKING_SHARE = 20
"""Of ten thousand documents it takes longer to ask how far they are: at most a twentieth of the time is for that."""


class Command(BaseCommand):
    help = "Upload files and folders and process them. An interrupted run goes on where it was when run again."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--owner", help="Whose library; the first administrator's by default.")
        parser.add_argument("--collection", help="Put them into the collection of this name, made if need be.")

    def handle(self, *, paths: list[Path], owner: str | None, collection: str | None, **options: Any) -> None:
        try:
            user = command_owner(owner)
        except UnknownOwner as error:
            raise CommandError(str(error)) from error
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            raise CommandError(f"There is no {', '.join(missing)}.")
        collections = [_collection(user, collection)] if collection else []
        files = files_below(paths)
        for path in question_sets_below(paths):
            self.stdout.write(f"left out  {path}: questions for `manage.py evaluate`; name the file itself to take it")
        try:
            outcomes = list(tqdm(upload_files(user, files, collections), total=len(files), desc="upload ", unit="file"))
            documents = list(dict.fromkeys(outcome.document_id for outcome in outcomes if outcome.document_id))
            self._process(documents)
        except KeyboardInterrupt:
            self.stderr.write("Interrupted. Nothing is lost: run the same command again to go on.")
            raise SystemExit(130) from None
        self._report(outcomes, documents)

    def _process(self, documents: list[Any]) -> None:
        before = progress_of(documents).done  # what was there already says nothing about the time that the rest takes
        bar = tqdm(total=len(documents), initial=before, desc="process", unit="document")
        with working(), bar:
            while True:
                asked = time.monotonic()
                try:
                    progress = progress_of(documents)
                except DatabaseProblem:  # restarting
                    connection.close()
                    time.sleep(POLL_SECONDS)
                    continue
                bar.set_postfix(chunks=progress.chunks, failed=progress.failed)
                bar.update(progress.done - bar.n)
                if progress.done >= len(documents):
                    return
                time.sleep(max(POLL_SECONDS, ASKING_SHARE * (time.monotonic() - asked)))

    def _report(self, outcomes: list[Outcome], documents: list[Any]) -> None:
        refused = [outcome for outcome in outcomes if outcome.document_id is None]
        failed = Document.objects.filter(id__in=documents, status=Document.Status.FAILED)
        for outcome in refused:
            self.stderr.write(f"refused  {outcome.path}: {outcome.refusal}")
        for document in failed:
            self.stderr.write(f"failed   {document.filename}: {document.error_detail}")
        new = sum(outcome.created for outcome in outcomes)
        known = len(outcomes) - new - len(refused)
        end = progress_of(documents)
        taken = f"{new} new, {known} already there, {len(refused)} refused"
        self.stdout.write(f"{taken}, {end.failed} failed; {end.chunks} chunks")
        if outcomes and len(refused) == len(outcomes):
            raise CommandError("None of the files could be taken.")


def _collection(owner: User, name: str) -> Collection:
    known = Collection.objects.for_user(owner).filter(name__iexact=name).first()
    if known is None:
        known = Collection(owner=owner, name=name)
        save_collection(collection=known)
    return known
