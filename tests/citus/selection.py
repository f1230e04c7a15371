"""Which of the site's tests run on Citus, and which of those do not, and why."""

TESTS = (
    "tests/documents/test_documents_api.py",
    "tests/documents/test_queue.py",
    "tests/documents/test_races.py",
    "tests/documents/test_replacing.py",
    "tests/documents/test_search.py",
    "tests/documents/test_terms.py",
    "tests/chat/test_answers_api.py",
    "tests/chat/test_ask.py",
    "tests/chat/test_conversations_api.py",
    "tests/chat/test_forgetting.py",
    "tests/chat/test_succession.py",
    "tests/processing/test_fairness.py",
    "tests/processing/test_pipeline.py",
    "tests/processing/test_renewal.py",
    "tests/accounts/test_pages.py",
    "tests/accounts/test_tokens_api.py",
)
"""Models, search, chat, pipeline, signing in. ``TESTS="tests/chat …"`` runs others. What never asks the
database (formats, chunking, engines) and the pages, which put the same questions as the API, are not run again."""
AT_COMMIT = "the foreign key is checked at the commit, which this test does not come to"
DESELECTED: dict[str, str] = {
    "tests/documents/test_documents_api.py::test_the_list_asks_the_database_as_often_for_twenty_as_for_two": (
        "it counts statements, and the queue's forecast asks once for each owner in line"
    ),
    "tests/documents/test_replacing.py::test_nobody_replaces_what_is_not_theirs": AT_COMMIT,
    "tests/chat/test_forgetting.py::test_however_a_document_is_deleted_its_quotes_go": (
        "it deletes rows past documents.services; a foreign key cannot set NULL on shards"
    ),
}
