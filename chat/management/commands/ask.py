"""manage.py ask QUESTION: an answer from a library, in the terminal."""

import argparse
import json
import sys
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from chat.answers import events, producer
from chat.answers.events import Event
from chat.answers.following import follow_log
from chat.answers.question import Question
from chat.answers.running import RunningAnswer, StopReason
from chat.scopes import instructions_for
from documents.models import Collection, Document
from documents.scopes import NotInLibrary, owned_scope
from ragsite.accounts.models import User
from ragsite.accounts.owners import UnknownOwner, command_owner
from ragsite.fields import new_id

STAGES = {"searching": 1, "reading": 2, "writing": 3}


class Command(BaseCommand):
    help = "Answer a question from the documents. Nothing is stored."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("question", metavar="QUESTION")
        parser.add_argument("--owner", help="Whose library; the first administrator's by default.")
        parser.add_argument("--collection", action="append", default=[], help="A name or id; may be repeated.")
        parser.add_argument("--document", action="append", default=[], help="A file name or id; may be repeated.")
        parser.add_argument("--json", action="store_true", help="Print the answer as the API gives it.")

    def handle(
        self, *, question: str, owner: str | None, collection: list[str], document: list[str], **options: Any
    ) -> None:
        try:
            user = command_owner(owner)
            scope = owned_scope(
                user,
                [_found(user, Document, "filename", name) for name in document],
                [_found(user, Collection, "name", name) for name in collection],
            )
        except (UnknownOwner, NotInLibrary) as error:
            raise CommandError(str(error)) from error
        if not question.strip():
            raise CommandError("Ask something.")
        answer = RunningAnswer(new_id(), user.pk, stored=False)
        with producer.reserved() as slot:
            slot.produce(answer, Question(question, scope, instructions=instructions_for(scope)))
        try:
            last = self._follow(answer, quiet=options["json"])
        except KeyboardInterrupt:
            answer.stop.set(StopReason.STOPPED)
            raise SystemExit(130) from None
        self._report(last, options["json"])

    def _follow(self, answer: RunningAnswer, quiet: bool) -> Event:
        """Print the text as it is written; a bar shows the stages before it, where someone is looking."""
        bar = tqdm(total=len(STAGES), desc="ask", leave=False, disable=quiet or not sys.stderr.isatty())
        event = None
        for batch in follow_log(answer.log):
            for event in batch:
                if event.name == events.STATUS:
                    self._show_stage(bar, event.data["stage"])
                elif event.name == events.TOKEN and not quiet:
                    self.stdout.write(event.data["text"], ending="")
                    self.stdout.flush()
        bar.close()
        if event is None:
            raise CommandError("There was no answer.")
        return event

    def _show_stage(self, bar: "tqdm[Any]", stage: str) -> None:
        bar.set_postfix_str(stage)
        bar.update(STAGES[stage] - bar.n)
        if stage == "writing":
            bar.close()

    def _report(self, last: Event, as_json: bool) -> None:
        if last.name == events.ERROR:
            raise CommandError(last.data["detail"])
        message = last.data["message"]
        if as_json:
            self.stdout.write(json.dumps(message, ensure_ascii=False, indent=2))
            return
        self.stdout.write("")
        for citation in message["citations"]:
            place = ", ".join(filter(None, [citation["filename"], citation["place"], *citation["headings"]]))
            quote = "\n    ".join(filter(None, [citation["table_header"], citation["quote"]]))
            self.stdout.write(f"\n[{citation['marker']}] {place}\n    {quote}")


def _found(owner: User, model: Any, field: str, name: str) -> UUID:
    """The id that a name or an id stands for. Raises CommandError."""
    try:
        return UUID(name)
    except ValueError:
        found = model.objects.for_user(owner).filter(**{field: name}).values_list("id", flat=True)[:2]
    if len(found) != 1:
        raise CommandError(f"{'No' if not found else 'More than one'} {model.__name__.lower()} is called {name!r}.")
    identifier: UUID = found[0]
    return identifier
