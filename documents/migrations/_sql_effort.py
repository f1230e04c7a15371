"""documents_nearest() with one argument more: how many of the index's candidates are looked at."""

from documents.migrations import _sql_nearest as before

# hnsw.ef_search in place of a constant: a graph of a million needs more to find the same. What set_config() sets is
# taken back by the function's own SET clause when it returns.
NEAREST = (
    before.NEAREST.replace("wanted integer, exact boolean", "wanted integer, exact boolean, effort integer")
    .replace("BEGIN\n", "BEGIN\n  PERFORM set_config('hnsw.ef_search', effort::text, true);\n", 1)
    .replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
)
DROP_NEAREST = "DROP FUNCTION documents_nearest(bigint, integer, integer, uuid[], text, integer, boolean, integer);"
