"""The SQL that the first migration runs: functions and composite foreign keys."""

from ragsite.languages import STEMMERS

_CASES = "\n".join(f"    WHEN '{code}' THEN to_tsvector('pg_catalog.{name}', body)" for code, name in STEMMERS.items())

# A CASE over literal configurations, because a regconfig column blocks pg_upgrade and a text column is not immutable.
TSVECTOR = f"""
CREATE FUNCTION documents_tsvector(language text, body text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE language
{_CASES}
    ELSE to_tsvector('pg_catalog.simple', body)
  END
$$;
CREATE FUNCTION documents_chunk_tsvector(language text, words text, title text, headings text[], body text)
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT public.documents_tsvector(
    language, coalesce(words, concat_ws(E'\\n', title, array_to_string(headings, E'\\n'), body)))
$$;
"""
DROP_TSVECTOR = """
DROP FUNCTION documents_chunk_tsvector(text, text, text, text[], text);
DROP FUNCTION documents_tsvector(text, text);
"""

# The languages of an owner's library, by a loose scan over document_language_idx: a step a language, not a row.
LIBRARY_LANGUAGES = """
CREATE FUNCTION documents_languages(owner bigint) RETURNS SETOF text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  WITH RECURSIVE found(language) AS (
    (SELECT d.language FROM documents_document d WHERE d.owner_id = owner ORDER BY d.language LIMIT 1)
    UNION ALL
    SELECT (SELECT d.language FROM documents_document d
            WHERE d.owner_id = owner AND d.language > found.language ORDER BY d.language LIMIT 1)
    FROM found WHERE found.language IS NOT NULL
  )
  SELECT language::text FROM found WHERE language IS NOT NULL
$$;
"""
DROP_LIBRARY_LANGUAGES = "DROP FUNCTION documents_languages(bigint);"

# Exact where the scope is small, the index with iterative scan where it is large, exact again when the index came back
# short. EXECUTE with literals, so that the owner's partition is pruned and the partial index of the model matches.
# "+ 0" keeps the planner from using the index where exactness is wanted.
NEAREST = """
SELECT '[1]'::vector;
CREATE FUNCTION documents_nearest(
  owner bigint, model integer, dimensions integer, scope uuid[], query text, wanted integer, exact_up_to integer
) RETURNS TABLE (document_id uuid, "position" integer, distance double precision)
LANGUAGE plpgsql STABLE SET hnsw.iterative_scan = 'relaxed_order' SET hnsw.ef_search = 100 AS $$
DECLARE
  condition text := format('e.owner_id = %s AND e.model_id = %s', owner, model);
  metric text := format('(e.vector::halfvec(%s) <=> %L::halfvec(%s))', dimensions, query, dimensions);
  statement text := 'SELECT n.document_id, n."position", n.distance FROM (SELECT e.document_id, e."position", %s AS '
    'distance FROM documents_embedding e WHERE %s ORDER BY %s LIMIT %s) n ORDER BY 3, 1, 2';
  size integer;
  found integer;
BEGIN
  IF scope IS NOT NULL THEN
    condition := condition || format(' AND e.document_id = ANY (%L::uuid[])', scope);
  END IF;
  EXECUTE format('SELECT count(*) FROM (SELECT FROM documents_embedding e WHERE %s LIMIT %s) s',
                 condition, exact_up_to + 1) INTO size;
  IF size > exact_up_to THEN
    RETURN QUERY EXECUTE format(statement, metric, condition, metric, wanted);
    GET DIAGNOSTICS found = ROW_COUNT;
    IF found >= least(wanted, size) THEN
      RETURN;
    END IF;
  END IF;
  -- Rows that the short index scan gave are given again: the caller takes the distinct ones.
  RETURN QUERY EXECUTE format(statement, metric, condition, metric || ' + 0', wanted);
END
$$;
"""
DROP_NEAREST = "DROP FUNCTION documents_nearest(bigint, integer, integer, uuid[], text, integer, integer);"

CASCADES = {
    "documents_chunk": "documents_chunk_document_fk",
    "documents_embedding": "documents_embedding_document_fk",
    "documents_text": "documents_text_document_fk",
    "documents_membership": "documents_membership_document_fk",
}
# Composite, so that the owner of a child is always its document's owner, and that PostgreSQL prunes when it cascades.
FOREIGN_KEYS = "".join(
    f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (owner_id, document_id) "
    f"REFERENCES documents_document (owner_id, id) ON DELETE CASCADE;\n"
    for table, name in CASCADES.items()
) + (
    "ALTER TABLE documents_membership ADD CONSTRAINT documents_membership_collection_fk FOREIGN KEY "
    "(owner_id, collection_id) REFERENCES documents_collection (owner_id, id) ON DELETE CASCADE;\n"
)
DROP_FOREIGN_KEYS = "".join(f"ALTER TABLE {table} DROP CONSTRAINT {name};\n" for table, name in CASCADES.items()) + (
    "ALTER TABLE documents_membership DROP CONSTRAINT documents_membership_collection_fk;\n"
)

# tsvectors stay in the row up to a page: ranking reads them all, and detoasting costs more than reading.
STORAGE = "ALTER TABLE documents_chunk ALTER COLUMN tsv SET STORAGE EXTERNAL;\n" + "".join(
    f"ALTER TABLE documents_chunk_p{number:02} SET (toast_tuple_target = 8160);\n"
    f"ALTER TABLE documents_chunk_p{number:02} ALTER COLUMN tsv SET STORAGE EXTERNAL;\n"
    for number in range(16)
)
