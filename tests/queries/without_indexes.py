"""What each index saves: its request with it, and without it, in a transaction that is rolled back.

    RAGSITE_DATA_DIR=… python -m tests.queries.without_indexes [--owner seed-00001]

Of a site that has been seeded. Prints a table in Markdown.
"""

import argparse
import os
from typing import Any

from ragsite.embedded.services import services_for

INDEXES = {
    "document_uploaded_idx": "/api/v1/documents",
    "document_status_idx": "/api/v1/documents?status=failed",
    "document_type_idx": "/api/v1/documents?content_type=text/plain",
    "document_filename_idx": "/api/v1/documents?ordering=filename",
    "document_size_idx": "/api/v1/documents?ordering=size",
    "document_words_gin": "/api/v1/documents?search=turbine+oslo",
    "document_claim_idx": "/api/v1/queue",
    "documents_membership_collection_uniq": "/api/v1/collections",
    "documents_membership_owner_stat": "/api/v1/documents?collection={collection}",
    "conversation_updated_idx": "/api/v1/conversations",
    "conversation_pinned_idx": "/api/v1/conversations?pinned=true",
    "conversation_archived_idx": "/api/v1/conversations?archived=true",
    "messagebody_words_gin": "/api/v1/conversations?search=turbine+oslo",
    "messagebody_conversation_idx": "/api/v1/conversations?search=the+turbine",
    "message_conversation_idx": "/api/v1/conversations/{conversation}",
    "chat_citation_message_marker_uniq": "/api/v1/conversations/{conversation}/messages",
    "documents_chunk_pkey": "/api/v1/documents/{document}/chunks",
}
DROPS = {
    "documents_membership_owner_stat": "DROP STATISTICS documents_membership_owner_stat; ANALYZE documents_membership",
    "documents_membership_collection_uniq": "ALTER TABLE documents_membership DROP CONSTRAINT {name}",
    "chat_citation_message_marker_uniq": "ALTER TABLE chat_citation DROP CONSTRAINT {name}",
    "documents_chunk_pkey": "ALTER TABLE documents_chunk DROP CONSTRAINT {name} CASCADE",
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.queries.without_indexes")
    parser.add_argument("--owner", default="seed-00001")
    owner = parser.parse_args().owner
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
    os.environ.update(RAGSITE_THROTTLE="off", RAGSITE_DEBUG="true", RAGSITE_CACHES_OFF="all")
    with services_for("migrate"):
        import django

        django.setup()
        from django.conf import settings

        settings.ALLOWED_HOSTS = ["*"]
        _print_table(owner)


def _print_table(owner: str) -> None:
    from ragsite.accounts.models import User
    from tests.queries.world import Caller

    caller = Caller(User.objects.get(username=owner))
    print("| index | request | with it: pages, rows | without: pages, rows |\n|---|---|---|---|")
    for name, path in INDEXES.items():
        _read(caller, path)  # loads what the first request of a process loads
        before, after = _read(caller, path), _without(caller, name, path)
        print(f"| `{name}` | `{path}` | {before[0]:,}, {before[1]:,} | {after[0]:,}, {after[1]:,} |", flush=True)


def _without(caller: Any, name: str, path: str) -> tuple[int, int]:
    from django.db import connection, transaction

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(DROPS.get(name, "DROP INDEX {name}").format(name=name))
        found = _read(caller, path)
        transaction.set_rollback(True)
    return found


def _read(caller: Any, path: str) -> tuple[int, int]:
    from tests.queries.plans import rows_read
    from tests.queries.recording import recorded
    from tests.queries.requests import Call

    with recorded(plans=True) as statements:
        caller.send(Call("get", path))
    return sum(one.buffers for one in statements), sum(map(rows_read, statements))


if __name__ == "__main__":
    main()
