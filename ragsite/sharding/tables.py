"""Which tables are distributed by their owner, which stand whole on every node, and which stay with the coordinator."""

from django.apps import apps
from django.db import models

USERS = "accounts_user"
OWNERS = "sharding_owner"
"""The ids of all users, on every node: what distributed rows point at."""
LINE = "sharding_line"
"""Who may have documents to process: the work queue's part that must be there when a shard is not."""
REFERENCE = ("documents_embeddingmodel",)
"""Small tables that statements of all owners join."""
LOCAL = {
    "accounts_apitoken": "signing in must work while a shard is away",
    "accounts_idempotencykey": "a request is looked up before its owner's data is",
    "documents_import": "a queue over all owners, claimed by FOR UPDATE SKIP LOCKED",
    "documents_importitem": "belongs to an import",
    "documents_partialupload": "a few rows that live as long as the file beside them",
    "processing_turn": "who was served when, of all owners",
}
"""Tables with an owner that stay on the coordinator, and why. What is signed in to or queued must outlive a shard."""


def distributed_models() -> list[type[models.Model]]:
    """Every model that has an owner and is not named above."""
    return [model for model in apps.get_models() if _is_owned(model)]


def distributed_tables() -> list[str]:
    return sorted(model._meta.db_table for model in distributed_models())


def _is_owned(model: type[models.Model]) -> bool:
    names = {field.name for field in model._meta.local_fields}
    return "owner" in names and model._meta.managed and model._meta.db_table not in LOCAL
