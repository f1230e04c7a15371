"""The SQL of a question and its answer: what each of them reads and writes, in as few round trips as can be.

Each statement names the owner, so that it goes to one partition, or one shard.
"""

from chat.models import Conversation
from ragsite.rows import TOGETHER, columns

TURNS_REMEMBERED = 12

TURNS = f"""
SELECT json_agg(json_build_array(turn.role, turn.content)) FROM (
  SELECT m.role, b.content FROM chat_message m
  JOIN chat_messagebody b ON b.owner_id = m.owner_id AND b.message_id = m.id
  WHERE m.owner_id = %(owner)s AND m.conversation_id = %(conversation)s
  ORDER BY m.created_at DESC, m.id DESC LIMIT {TURNS_REMEMBERED}
) turn
"""  # noqa: S608  (constants)
"""The last messages, newest first, as JSON: [[role, content], …]; NULL where there are none."""

CONVERSATION_WITH_TURNS = f"""
SELECT ({TURNS}), {columns(Conversation, "c")} FROM chat_conversation c
WHERE c.owner_id = %(owner)s AND c.id = %(conversation)s
"""  # noqa: S608

BEGIN_CONVERSATION = """
INSERT INTO chat_conversation
  (id, owner_id, title, pinned, archived_at, scope_documents, scope_collections, language_model, style)
VALUES
  (%(id)s, %(owner)s, %(title)s, false, NULL, %(documents)s::uuid[], %(collections)s::uuid[], %(model)s, %(style)s)
RETURNING created_at, updated_at
"""

STORE_QUESTION = TOGETHER.join(
    (
        """
INSERT INTO chat_message (id, owner_id, conversation_id, role, status, engine, model, created_at,
  stop_requested, error_code, error_detail, timings, cached)
VALUES
  (%(question)s, %(owner)s, %(conversation)s, 'user', 'complete', '', '', %(asked_at)s,
    false, '', '', '{}', false),
  (%(answer)s, %(owner)s, %(conversation)s, 'assistant', 'running', %(engine)s, %(model)s, %(answer_at)s,
    false, '', '', '{}', false)
""",
        """
INSERT INTO chat_messagebody (message_id, owner_id, conversation_id, content, words)
VALUES (%(question)s, %(owner)s, %(conversation)s, %(content)s, %(words)s)
""",
        """
UPDATE chat_conversation
SET updated_at = %(asked_at)s, title = CASE WHEN title = '' THEN %(title)s ELSE title END
WHERE owner_id = %(owner)s AND id = %(conversation)s
""",
    )
)

FILL_RUNNING = """
WITH filled AS (
  UPDATE chat_message SET status = %(status)s, engine = %(engine)s, model = %(model)s, error_code = %(error_code)s,
    error_detail = %(error_detail)s, timings = %(timings)s, prompt_tokens = %(prompt_tokens)s,
    completion_tokens = %(completion_tokens)s, support = %(support)s, cached = %(cached)s
  WHERE owner_id = %(owner)s AND id = %(message)s AND status = 'running' RETURNING 1
)
SELECT 1 / count(*) FROM filled
"""
"""Fails, and with it all that is sent together with it, where the answer is not running any more."""
INSERT_BODY = """
INSERT INTO chat_messagebody (message_id, owner_id, conversation_id, content, words)
VALUES (%(message)s, %(owner)s, %(conversation)s, %(content)s, %(words)s)
"""
INSERT_CITATIONS = """
INSERT INTO chat_citation (owner_id, message_id, marker, document_id, filename, page, page_kind, page_label, headings,
  table_header, start, "end", answer_start, answer_end, quote, verified, earlier_version)
VALUES
"""
"""With a row of CITATION for each; ``{}`` is its number."""
CITATION = (
    "(%(owner)s, %(message)s, %(marker{0})s, %(document_id{0})s, %(filename{0})s, %(page{0})s, %(page_kind{0})s, "
    "%(page_label{0})s, %(headings{0})s::text[], %(table_header{0})s, %(start{0})s, %(end{0})s, %(answer_start{0})s, "
    "%(answer_end{0})s, %(quote{0})s, %(verified{0})s, %(earlier_version{0})s)"
)
CITED = (
    "marker", "document_id", "filename", "page", "page_kind", "page_label", "headings", "table_header", "start", "end",
    "answer_start", "answer_end", "quote", "verified", "earlier_version",
)  # fmt: skip
INSERT_TRACE = """
INSERT INTO chat_retrievaltrace (message_id, owner_id, query, scope, passages)
VALUES (%(message)s, %(owner)s, %(query)s, %(scope)s, %(passages)s)
"""
NOTE_ACTIVITY = """
UPDATE chat_conversation SET updated_at = %(now)s WHERE owner_id = %(owner)s AND id = %(conversation)s
"""


def store_answer(citations: int) -> str:
    """The statements that store an answer with so many citations, if it is still running."""
    rows = ",\n".join(CITATION.format(number) for number in range(citations))
    cited = [INSERT_CITATIONS + rows] if citations else []
    return TOGETHER.join((FILL_RUNNING, INSERT_BODY, *cited, INSERT_TRACE, NOTE_ACTIVITY))
