"""What remains of a deleted document in conversations: nothing that it said."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from chat.answers.board import board
from chat.bodies import MAY_QUOTE, save_body, without_quotes
from chat.caching import quotes_changed
from chat.models import Citation, Message
from documents.signals import documents_deleted


def forget_documents(*, owner_id: int, document_ids: Sequence[UUID], **_signal: Any) -> None:
    """Called in the transaction that deletes the documents (the citations' quotes go by a trigger of the database).

    An answer in a model's words is its owner's and stays. One that consists of quotes loses those of the documents.
    """
    cited = Citation.objects.of_documents(owner_id, document_ids)
    messages = set(cited.values_list("message_id", flat=True))
    if not messages:
        return
    quotes_changed(owner_id)
    quoting = Message.objects.filter(owner_id=owner_id, id__in=messages, engine__in=MAY_QUOTE)
    for message in quoting.select_related("body"):
        quotes = cited.filter(message=message).values_list("quote", flat=True)
        save_body(message, without_quotes(message.body.content, quotes))
    cited.update(document_id=None)  # as the foreign key would, but for distributed tables, where it cannot
    transaction.on_commit(lambda: board().forget(messages))


def connect() -> None:
    documents_deleted.connect(forget_documents, dispatch_uid="chat.forget_documents")
