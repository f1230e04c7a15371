"""The SQL that the first migration runs: composite foreign keys, and what a deleted document leaves of a citation."""

_CONVERSATION = "(owner_id, conversation_id) REFERENCES chat_conversation (owner_id, id) ON DELETE CASCADE"
_MESSAGE = "(owner_id, message_id) REFERENCES chat_message (owner_id, id) ON DELETE CASCADE"
_DOCUMENT = "(owner_id, document_id) REFERENCES documents_document (owner_id, id) ON DELETE SET NULL (document_id)"

KEYS = {
    ("chat_message", "chat_message_conversation_fk"): _CONVERSATION,
    ("chat_messagebody", "chat_messagebody_message_fk"): _MESSAGE,
    ("chat_citation", "chat_citation_message_fk"): _MESSAGE,
    ("chat_citation", "chat_citation_document_fk"): _DOCUMENT,
    ("chat_retrievaltrace", "chat_retrievaltrace_message_fk"): _MESSAGE,
}
# Composite, so that the owner of a child is always its parent's owner; the database cascades, without Django fetching
# every row first.
FOREIGN_KEYS = "".join(
    f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY {rule};\n" for (table, name), rule in KEYS.items()
)
DROP_FOREIGN_KEYS = "".join(f"ALTER TABLE {table} DROP CONSTRAINT {name};\n" for table, name in KEYS)

# A trigger and not a signal: however a document is deleted (a service, the admin, with its owner, by SQL), the copy of
# its words in the citations goes in the same statement.
FORGET = """
CREATE FUNCTION chat_citation_forget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.quote := '';
  NEW.filename := '';
  NEW.verified := false;
  RETURN NEW;
END
$$;
CREATE TRIGGER chat_citation_forget BEFORE UPDATE ON chat_citation FOR EACH ROW
  WHEN (NEW.document_id IS NULL AND OLD.document_id IS NOT NULL) EXECUTE FUNCTION chat_citation_forget();
"""
DROP_FORGET = """
DROP TRIGGER chat_citation_forget ON chat_citation;
DROP FUNCTION chat_citation_forget();
"""

# 0003: the names of sheets and attachments, headings and columns are the document's words as well.
_FORGET_BODY = """
CREATE OR REPLACE FUNCTION chat_citation_forget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.quote := '';
  NEW.filename := '';
  {more}NEW.verified := false;
  RETURN NEW;
END
$$;
"""
FORGET_QUOTE = _FORGET_BODY.format(more="")
FORGET_PLACE = _FORGET_BODY.format(
    more="NEW.page_label := '';\n  NEW.headings := '{}';\n  NEW.table_header := '';\n  "
)
