"""What others may want to know of documents."""

from django.dispatch import Signal

documents_deleted = Signal()
"""Sent inside the transaction that deletes: ``owner_id: int``, ``document_ids: list[UUID]``."""

documents_replaced = Signal()
"""Sent inside the transaction that deletes documents because a newer version takes their place: ``owner_id: int``,
``document_ids: list[UUID]`` (``documents_deleted`` is not sent for them), ``document_id: UUID`` of the new one."""

document_processed = Signal()
"""Sent after a document's passages have changed: ``owner_id: int``, ``document_id: UUID``."""
