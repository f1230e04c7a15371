"""Which of the site's tests run on Citus, and which of those do not, and why."""

TESTS = (
    "tests/documents",
    "tests/chat",
    "tests/processing/test_pipeline.py",
    "tests/processing/test_ingest.py",
    "tests/processing/test_fairness.py",
    "tests/processing/test_renewal.py",
    "tests/accounts",
)
"""Models, search, chat and pipeline. What never asks the database is not run again."""
DESELECTED: dict[str, str] = {}
