"""documents_nearest() with an exact way that compares the column as it is."""

from documents.migrations import _sql_effort as before

# Without the cast to so many dimensions, which costs a fifth of the time, the expression is not the one that the graph
# is made of: the planner takes the index that holds the vectors, or the key.
NEAREST = before.NEAREST.replace(
    "  statement text :=",
    "  plain text := format('(e.vector <=> %L::halfvec(%s))', query, dimensions);\n  statement text :=",
).replace("metric, condition, metric || ' + 0', wanted", "plain, condition, plain, wanted")
