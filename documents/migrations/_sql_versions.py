"""Composite foreign keys of versions: a document and what it replaces have one owner, whoever writes the rows."""

KEYS = """
ALTER TABLE documents_document ADD CONSTRAINT documents_document_replaces_fk FOREIGN KEY (owner_id, replaces_id)
  REFERENCES documents_document (owner_id, id) ON DELETE SET NULL (replaces_id);
ALTER TABLE documents_earlierversion ADD CONSTRAINT documents_earlierversion_document_fk
  FOREIGN KEY (owner_id, document_id) REFERENCES documents_document (owner_id, id) ON DELETE CASCADE;
"""
DROP_KEYS = """
ALTER TABLE documents_earlierversion DROP CONSTRAINT documents_earlierversion_document_fk;
ALTER TABLE documents_document DROP CONSTRAINT documents_document_replaces_fk;
"""
