"""What it saves that wide text stands in tables of its own: pages that lists read, beside tables with it in the row.

    make bench-wide [DOCUMENTS=2000]

Seeds a site of its own in a temporary folder, makes copies of its tables with the text put back into the row (same
rows, same indexes, vacuumed alike), and runs the statements of the lists on both.
"""

import argparse
import os
import tempfile
from pathlib import Path

from ragsite.embedded.services import services_for

# The wide copy, and the order by which the list is read.
COPIES = {
    "documents_document": (
        "CREATE TABLE wide_document AS SELECT d.*, t.text, t.pages, t.blocks FROM documents_document d "
        "JOIN documents_text t ON t.owner_id = d.owner_id AND t.document_id = d.id ORDER BY d.uploaded_at",
        "CREATE INDEX ON wide_document (owner_id, uploaded_at, id)",
        "CREATE INDEX ON wide_document (owner_id, status, uploaded_at, id)",
    ),
    "chat_message": (
        "CREATE TABLE wide_message AS SELECT m.*, b.content, b.words, r.query, r.passages FROM chat_message m "
        "JOIN chat_messagebody b ON b.owner_id = m.owner_id AND b.message_id = m.id "
        "LEFT JOIN chat_retrievaltrace r ON r.owner_id = m.owner_id AND r.message_id = m.id ORDER BY m.created_at",
        "CREATE INDEX ON wide_message (conversation_id, created_at, id)",
    ),
}
DOCUMENT = "id, filename, content_type, size, status, title, language, page_count, chunk_count, uploaded_at"
MESSAGE = "id, role, status, engine, model, error_code, timings, cached, created_at"
LISTS = {
    "a page of documents, newest": (
        "documents_document", "wide_document",
        f"SELECT {DOCUMENT} FROM {{table}} WHERE owner_id = %(owner)s ORDER BY uploaded_at DESC, id DESC LIMIT 26",
    ),
    "all documents of the account: number, size, by status": (
        "documents_document", "wide_document",
        "SELECT status, count(*), sum(size) FROM {table} WHERE owner_id = %(owner)s GROUP BY status",
    ),
    "the messages of a conversation, without what they say": (
        "chat_message", "wide_message",
        f"SELECT {MESSAGE} FROM {{table}} WHERE owner_id = %(owner)s AND conversation_id = %(conversation)s "
        "ORDER BY created_at, id",
    ),
    "all answers of the account: number, how many failed": (
        "chat_message", "wide_message",
        "SELECT status, count(*) FROM {table} WHERE owner_id = %(owner)s AND role = 'assistant' GROUP BY status",
    ),
}  # fmt: skip


def main() -> None:
    """The command: prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.partitions.wide")
    parser.add_argument("documents", type=int, nargs="?", default=2000)
    documents = parser.parse_args().documents
    with tempfile.TemporaryDirectory(prefix="ragsite-wide-") as folder:
        os.environ |= {"RAGSITE_DATA_DIR": str(Path(folder) / "var"), "RAGSITE_DOTENV": os.devnull}
        os.environ["DJANGO_SETTINGS_MODULE"] = "ragsite.settings"
        with services_for("migrate"):
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", verbosity=0)
            sizes = {"documents": documents, "chunks": documents * 10, "conversations": documents // 5}
            call_command("seed", owners=10, messages=documents * 5, verbosity=0, **sizes)
            _print_table(*make_copies())


def make_copies() -> tuple[int, str]:
    """The wide tables. Returns the owner who has most, and the longest of this owner's conversations."""
    from django.db import connection

    with connection.cursor() as cursor:
        for statements in COPIES.values():
            for statement in statements:
                cursor.execute(statement)
        for table in (*COPIES, "wide_document", "wide_message"):
            cursor.execute(f"VACUUM (ANALYZE) {table}")
        cursor.execute(
            "SELECT owner_id, conversation_id FROM chat_message WHERE owner_id = (SELECT owner_id FROM "
            "documents_document GROUP BY 1 ORDER BY count(*) DESC LIMIT 1) GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1"
        )
        owner, conversation = cursor.fetchone()
        return owner, str(conversation)


def pages(table: str, sql: str, owner: int, conversation: str) -> int:
    """What the statement reads of tables and indexes, in pages of 8 KB (EXPLAIN with BUFFERS)."""
    from django.db import connection

    with connection.cursor() as cursor:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql.format(table=table)}"
        cursor.execute(explain, {"owner": owner, "conversation": conversation})
        plan = cursor.fetchone()[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _print_table(owner: int, conversation: str) -> None:
    print("| | pages, apart | pages, in the row |\n|---|---|---|")
    for name, (apart, wide, sql) in LISTS.items():
        both = [pages(table, sql, owner, conversation) for table in (apart, wide)]
        print(f"| {name} | {both[0]:,} | {both[1]:,} |")


if __name__ == "__main__":
    main()
