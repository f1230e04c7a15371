"""The one SQL statement of a search.

Words: of the query's terms, the document frequency is counted in a sample of the owner's chunks; a chunk scores
Σ idf(t)·ts_rank(t) over the terms, divided by what a chunk holding every term once or twice would score, so that the
number means the same in every query. Meaning: documents_nearest(). The union of both lists' best is scored by both and
sorted by the weighted sum.
"""

SAMPLE_SIZE = 500
CANDIDATES = 50
"""Rows that each of the two rankings gives to the fusion."""
EXACT_UP_TO = 5000
"""Chunks in scope up to which meaning is ranked exactly; above, by the HNSW index."""
COMMON_SHARE = 0.25
"""Terms that stand in more of a large library's chunks choose no candidates; they are still scored."""
RANK_OF_ONE_MATCH = 0.0608
"""ts_rank of a single occurrence (weight D): 0.1 · 6/π²."""
TERM_SATURATION = 2.2
"""BM25's k1 + 1: what a term scores at most, when one occurrence in a chunk of average length scores 1."""

SEARCH = """
WITH scope AS MATERIALIZED (
  SELECT CASE WHEN %(whole)s THEN NULL ELSE ARRAY(
    SELECT unnest(%(documents)s::uuid[])
    UNION
    SELECT m.document_id FROM documents_membership m
    WHERE m.owner_id = %(owner)s AND m.collection_id = ANY (%(collections)s::uuid[])
  ) END AS documents
),
terms AS MATERIALIZED (
  SELECT DISTINCT word.lexeme, quote_literal(word.lexeme)::tsquery AS query
  FROM documents_languages(%(owner)s) AS language,
       unnest(documents_tsvector(language, %(words)s)) AS word
  WHERE %(words_weight)s > 0
),
sample AS MATERIALIZED (
  SELECT c.tsv FROM documents_chunk c WHERE c.owner_id = %(owner)s ORDER BY c.sample_key LIMIT %(sample)s
),
sampled AS (SELECT count(*)::float AS size, coalesce(avg(length(tsv)), 1)::float AS lexemes FROM sample),
weighted AS MATERIALIZED (
  SELECT t.lexeme, t.query, ln(1 + (s.size - t.df + 0.5) / (t.df + 0.5)) AS idf, t.df / greatest(s.size, 1) AS share
  FROM (
    SELECT terms.lexeme, terms.query, (SELECT count(*) FROM sample WHERE sample.tsv @@ terms.query)::float AS df
    FROM terms
  ) t, sampled s
),
wanted AS MATERIALIZED (
  SELECT string_agg(query::text, ' | ')::tsquery AS query
  FROM weighted
  WHERE (SELECT size FROM sampled) < %(sample)s
     OR share <= greatest(%(common)s, (SELECT min(share) FROM weighted WHERE share > 0))
),
total AS (
  SELECT sum(w.idf) * %(one_match)s * %(saturation)s / (1 + ln(1 + max(s.lexemes))) AS score FROM weighted w, sampled s
),
by_words AS MATERIALIZED (
  SELECT c.document_id, c.position,
         (SELECT sum(w.idf * ts_rank(c.tsv, w.query, 1)) FROM weighted w) / (SELECT score FROM total) AS score
  FROM documents_chunk c
  WHERE c.owner_id = %(owner)s AND ARRAY[c.owner_id] @> ARRAY[%(owner)s::bigint]
    AND c.tsv @@ (SELECT query FROM wanted)
    AND ((SELECT documents FROM scope) IS NULL OR c.document_id = ANY ((SELECT documents FROM scope)::uuid[]))
  ORDER BY 3 DESC, 1, 2 LIMIT %(candidates)s
),
model AS (SELECT id, dimensions FROM documents_embeddingmodel WHERE name = %(model)s),
by_meaning AS MATERIALIZED (
  SELECT DISTINCT near.document_id, near.position, 1 - near.distance AS score
  FROM model, documents_nearest(%(owner)s, model.id::integer, model.dimensions::integer,
    (SELECT documents FROM scope), %(vector)s, %(candidates)s, %(exact_up_to)s) near
  WHERE %(vector)s IS NOT NULL AND %(meaning_weight)s > 0
),
found AS (SELECT document_id, position FROM by_words UNION SELECT document_id, position FROM by_meaning),
scored AS (
  SELECT c.document_id, c.position, c.page, c.start, c.end, c.text, c.headings, c.title, c.language,
    coalesce((SELECT sum(w.idf * ts_rank(c.tsv, w.query, 1)) FROM weighted w) / (SELECT score FROM total), 0) AS words,
    coalesce((SELECT score FROM by_meaning m WHERE (m.document_id, m.position) = (c.document_id, c.position)),
      (SELECT 1 - (e.vector <=> %(vector)s::halfvec) FROM documents_embedding e, model
       WHERE e.owner_id = %(owner)s AND e.document_id = c.document_id AND e.position = c.position
         AND e.part = 0 AND e.model_id = model.id), 0) AS meaning
  FROM found JOIN documents_chunk c ON c.owner_id = %(owner)s
    AND c.document_id = found.document_id AND c.position = found.position
)
SELECT s.document_id, d.filename, s.page, s.position, s.start, s.end, s.text, s.headings, s.title, s.language,
       %(words_weight)s * s.words + %(meaning_weight)s * s.meaning AS score, s.words, s.meaning
FROM scored s JOIN documents_document d ON d.owner_id = %(owner)s AND d.id = s.document_id
ORDER BY score DESC, s.document_id, s.position LIMIT %(limit)s
"""
