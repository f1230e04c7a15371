"""documents_search(): the statement that ranks a whole library, whose plan a session keeps."""

# The same as documents/search/statement.py makes for a whole library; a test holds the two together. That text is
# planned anew for each question, which takes a third of its time.
#
# The plan is made for any owner and any words (plan_cache_mode): PostgreSQL would compare its estimate with that of a
# plan for this owner, and never keep it. What it cannot know then is settled here: it is made of nested loops over
# indexes, whatever the tables held when it was made. Of a table with three rows it would read all, and go on so when
# there are a million, until they are next analysed.
SEARCH = """
CREATE FUNCTION documents_search(
  owner bigint, languages text[], queries text[], weights double precision[], wanted tsquery, question text,
  models text[], nearest_chunks integer, exactly boolean, effort integer, candidates integer,
  words_weight double precision, meaning_weight double precision, few_words double precision, small_spread double precision,
  document_weight double precision, document_hits integer, most integer, most_ranked integer
) RETURNS TABLE (
  document_id uuid, filename text, page integer, "position" integer, start integer, "end" integer, text text,
  headings text[], title text, language text, score double precision, words double precision,
  meaning double precision, kind text, page_kind text, page_label text, table_header text,
  sentence_start integer, sentence_end integer
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
  asked halfvec := question;  -- once, instead of for each vector that it is compared with
BEGIN
  RETURN QUERY
  WITH hidden AS MATERIALIZED (
    SELECT coalesce(array_agg(d.id), '{}') AS documents, least(coalesce(sum(d.chunk_count), 0), 1000)::integer AS chunks
    FROM documents_document d WHERE d.owner_id = owner AND d.replaces_id IS NOT NULL
  ),
  term AS MATERIALIZED (
    SELECT t.language, t.query::tsquery, t.weight FROM unnest(languages, queries, weights) AS t(language, query, weight)
  ),
  by_words AS MATERIALIZED (
    SELECT c.document_id, c."position",
      (SELECT sum(t.weight * ts_rank(c.tsv, t.query, 1)) FROM term t WHERE t.language = c.language) AS score
    FROM (
      SELECT c.document_id, c."position", c.language, c.tsv FROM documents_chunk c
      WHERE c.owner_id = owner AND ARRAY[c.owner_id] @> ARRAY[owner] AND c.tsv @@ wanted
        AND c.document_id <> ALL ((SELECT documents FROM hidden)::uuid[])
      LIMIT most_ranked
    ) c
    ORDER BY 3 DESC, 1, 2 LIMIT candidates
  ),
  model AS MATERIALIZED (
    SELECT m.id, m.dimensions FROM documents_embeddingmodel m WHERE m.name = ANY (models)
  ),
  near AS MATERIALIZED (
    SELECT DISTINCT n.document_id, n."position"
    FROM model, hidden, documents_nearest(owner, model.id::integer, model.dimensions::integer, NULL, question,
      nearest_chunks + hidden.chunks, exactly, effort) n
    WHERE n.document_id <> ALL (hidden.documents)
  ),
  found AS (
    SELECT best.document_id, best."position", max(best.score) AS words
    FROM (
      SELECT b.document_id, b."position", b.score FROM by_words b
      UNION ALL SELECT n.document_id, n."position", NULL FROM near n
    ) best
    GROUP BY best.document_id, best."position"
  ),
  scored AS MATERIALIZED (
    SELECT found.document_id, found."position", best.start AS sentence_start, best."end" AS sentence_end,
      coalesce(found.words, (
        SELECT sum(t.weight * ts_rank(c.tsv, t.query, 1)) FROM documents_chunk c JOIN term t ON t.language = c.language
        WHERE c.owner_id = owner AND c.document_id = found.document_id AND c."position" = found."position"
      ), 0) AS words,
      coalesce(best.cosine, 0) AS meaning
    FROM found
    LEFT JOIN LATERAL (
      SELECT e.start, e."end", 1 - (e.vector <=> asked) AS cosine FROM documents_embedding e
      WHERE e.owner_id = owner AND e.document_id = found.document_id AND e."position" = found."position"
        AND e.model_id = ANY (ARRAY(SELECT id FROM model))
      ORDER BY e.part = 0, cosine DESC LIMIT 1
    ) best ON true
  ),
  bounds AS (
    SELECT max(s.words) AS most_words, max(s.meaning) AS closest, (
      SELECT min(best.meaning) FROM (
        SELECT s.meaning FROM scored s WHERE s.meaning > 0 ORDER BY s.meaning DESC LIMIT candidates) best
    ) AS farthest
    FROM scored s
  ),
  compared AS MATERIALIZED (
    SELECT s.*, words_weight * s.words / (b.most_words + few_words)
      + meaning_weight * coalesce(
          greatest(s.meaning - b.farthest, 0) / (b.closest - b.farthest + small_spread), 0) AS own
    FROM bounds b, scored s
  ),
  evidence AS (
    SELECT best.document_id, sum(best.own - best.least) / document_hits AS score FROM (
      SELECT c.document_id, c.own, min(c.own) OVER () AS least,
        row_number() OVER (PARTITION BY c.document_id ORDER BY c.own DESC) AS place
      FROM compared c
    ) best WHERE best.place <= document_hits GROUP BY best.document_id
  ),
  chosen AS MATERIALIZED (
    SELECT s.*, (s.own + document_weight * e.score) / (1 + document_weight) AS score
    FROM compared s JOIN evidence e USING (document_id)
    ORDER BY score DESC, s.meaning DESC, s.document_id, s."position" LIMIT most
  )
  SELECT s.document_id, d.filename::text, c.page, s."position", c.start, c."end", c.text, c.headings, c.title,
    c.language::text, s.score, s.words, s.meaning, c.kind::text, d.page_kind::text, c.page_label, c.table_header, s.sentence_start, s.sentence_end
  FROM chosen s
  JOIN documents_chunk c ON c.owner_id = owner AND c.document_id = s.document_id AND c."position" = s."position"
  JOIN documents_document d ON d.owner_id = owner AND d.id = s.document_id
  ORDER BY s.score DESC, s.meaning DESC, s.document_id, s."position";
END
$$;
"""
DROP_SEARCH = "DROP FUNCTION documents_search;"
