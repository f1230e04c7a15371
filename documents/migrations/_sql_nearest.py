"""The nearest chunks of an owner, by the vectors that stand for whole chunks."""

# Exact where the caller says that the scope is small, else the index with iterative scan, exact again when the index
# came back short. EXECUTE with literals, so that the owner's partition is pruned and the partial index of the model
# matches. "+ 0" keeps the planner from using the index where exactness is wanted. The first line loads pgvector into
# this session: before that, its settings may be set by superusers only.
NEAREST = """
SELECT '[1]'::vector;
CREATE FUNCTION documents_nearest(
  owner bigint, model integer, dimensions integer, scope uuid[], query text, wanted integer, exact boolean
) RETURNS TABLE (document_id uuid, "position" integer, distance double precision)
LANGUAGE plpgsql STABLE SET hnsw.iterative_scan = 'relaxed_order' SET hnsw.ef_search = 200 AS $$
DECLARE
  condition text := format('e.owner_id = %s AND e.model_id = %s AND e.part = 0', owner, model);
  metric text := format('(e.vector::halfvec(%s) <=> %L::halfvec(%s))', dimensions, query, dimensions);
  statement text := 'SELECT n.document_id, n."position", n.distance FROM (SELECT e.document_id, e."position", %s AS '
    'distance FROM documents_embedding e WHERE %s ORDER BY %s LIMIT %s) n ORDER BY 3, 1, 2';
  found integer;
BEGIN
  IF scope IS NOT NULL THEN
    condition := condition || format(' AND e.document_id = ANY (%L::uuid[])', scope);
  END IF;
  IF NOT exact THEN
    RETURN QUERY EXECUTE format(statement, metric, condition, metric, wanted);
    GET DIAGNOSTICS found = ROW_COUNT;
    IF found >= wanted THEN
      RETURN;
    END IF;
  END IF;
  -- Rows that the short index scan gave are given again: the caller takes the distinct ones.
  RETURN QUERY EXECUTE format(statement, metric, condition, metric || ' + 0', wanted);
END
$$;
"""
DROP_NEAREST = "DROP FUNCTION documents_nearest(bigint, integer, integer, uuid[], text, integer, boolean);"
