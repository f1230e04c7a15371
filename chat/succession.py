"""What conversations make of a newer version of a document that takes the old one's place."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from chat.caching import quotes_changed
from chat.models import Citation
from documents.signals import documents_replaced

SCOPES = """
UPDATE chat_conversation SET scope_documents = ARRAY(
  SELECT CASE WHEN id = ANY (%(old)s::uuid[]) THEN %(new)s::uuid ELSE id END
  FROM unnest(scope_documents) WITH ORDINALITY AS chosen (id, place) GROUP BY 1 ORDER BY min(place))
WHERE owner_id = %(owner)s AND scope_documents && %(old)s::uuid[]
"""


def succeed(*, owner_id: int, document_ids: Sequence[UUID], document_id: UUID, **_signal: Any) -> None:
    """Called in the transaction that removes the old ones.

    Their citations keep their quotes and point at the new one; who asked them asks the new one from now on.
    """
    cited = Citation.objects.of_documents(owner_id, document_ids)
    quotes_changed(owner_id)
    cited.update(document_id=document_id, earlier_version=True)
    with connection.cursor() as cursor:
        cursor.execute(SCOPES, {"owner": owner_id, "old": [str(old) for old in document_ids], "new": document_id})


def connect() -> None:
    documents_replaced.connect(succeed, dispatch_uid="chat.succeed")
