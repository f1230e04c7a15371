"""The one SQL statement of a search.

Words: of the query's terms, the document frequency is counted in a sample of the owner's chunks, and how many chunks
there are is told by how far the sample reaches among their random keys. Which chunks are ranked at all is chosen by the
rare terms and by pairs of the next ones: ranking each chunk that holds a common word would take seconds. A chunk scores
Σ idf(t)·ts_rank(t) over the terms, divided by what a chunk holding every term once or twice would score, so that the
number means the same in every query. Meaning: documents_nearest(). The union of both lists' best is scored by both and
sorted by the weighted sum.
"""

SAMPLE_SIZE = 500
CANDIDATES = 50
"""Rows that each of the two rankings gives to the fusion."""
EXACT_UP_TO = 5000
"""Chunks in scope up to which meaning is ranked exactly; above, by the HNSW index."""
TERMS_READ = 64
"""Terms of a query that are looked at, from its beginning."""
TERMS_SCORED = 32
"""The rarest of them, which are scored."""
ROWS_BY_TERMS = 2000
"""Chunks that single terms may bring in, by estimate: the rarest first, one always. Smaller libraries take all."""
PAIRED = 6
"""So many of the next terms bring in the chunks that hold two of them,"""
ROWS_BY_PAIRS = 5000
"""up to this many by estimate."""
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
  SELECT word.lexeme, quote_literal(word.lexeme)::tsquery AS query
  FROM documents_languages(%(owner)s) AS language,
       unnest(documents_tsvector(language, %(words)s)) AS word
  WHERE %(words_weight)s > 0
  GROUP BY word.lexeme ORDER BY min(word.positions[1]), word.lexeme LIMIT %(terms_read)s
),
sample AS MATERIALIZED (
  SELECT c.tsv, c.sample_key FROM documents_chunk c WHERE c.owner_id = %(owner)s ORDER BY c.sample_key LIMIT %(sample)s
),
sampled AS MATERIALIZED (
  SELECT count(*)::float AS size, coalesce(avg(length(tsv)), 1)::float AS lexemes,
    CASE WHEN count(*) < %(sample)s THEN count(*)
         ELSE count(*) * 2147483648.0 / (max(sample_key) + 1) END::float AS chunks
  FROM sample
),
counted AS MATERIALIZED (
  SELECT terms.lexeme, terms.query, (SELECT count(*) FROM sample WHERE sample.tsv @@ terms.query)::float AS df
  FROM terms
),
weighted AS MATERIALIZED (
  SELECT c.lexeme, c.query, ln(1 + (s.size - c.df + 0.5) / (c.df + 0.5)) AS idf,
    greatest(c.df, 0.1) / greatest(s.size, 1) * s.chunks AS rows
  FROM counted c, sampled s ORDER BY idf DESC, c.lexeme LIMIT %(terms_scored)s
),
ranked AS (
  SELECT query, rows, sum(rows) OVER by_rarity AS total, row_number() OVER by_rarity AS place
  FROM weighted WINDOW by_rarity AS (ORDER BY rows, lexeme)
),
single AS MATERIALIZED (
  SELECT query::text, place FROM ranked, sampled
  WHERE sampled.chunks <= %(rows_by_terms)s OR total <= %(rows_by_terms)s OR place = 1
),
rest AS (
  SELECT query, rows, place FROM ranked WHERE place > (SELECT max(place) FROM single) ORDER BY place LIMIT %(paired)s
),
pair AS (
  SELECT format('(%%s & %%s)', a.query, b.query) AS query,
    sum(1.5 * a.rows * b.rows / s.chunks) OVER by_rarity AS total, row_number() OVER by_rarity AS place
  FROM rest a JOIN rest b ON a.place < b.place, sampled s
  WINDOW by_rarity AS (ORDER BY a.rows * b.rows, a.place, b.place)
),
wanted AS MATERIALIZED (
  SELECT string_agg(query, ' | ')::tsquery AS query FROM (
    SELECT query FROM single
    UNION ALL SELECT query FROM pair WHERE total <= %(rows_by_pairs)s OR place = 1
    UNION ALL SELECT query::text FROM rest WHERE (SELECT count(*) FROM rest) = 1
  ) chosen
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
    c.kind, c.page_label, c.table_header,
    coalesce((SELECT sum(w.idf * ts_rank(c.tsv, w.query, 1)) FROM weighted w) / (SELECT score FROM total), 0) AS words,
    coalesce((SELECT score FROM by_meaning m WHERE (m.document_id, m.position) = (c.document_id, c.position)),
      (SELECT 1 - (e.vector <=> %(vector)s::halfvec) FROM documents_embedding e, model
       WHERE e.owner_id = %(owner)s AND e.document_id = c.document_id AND e.position = c.position
         AND e.part = 0 AND e.model_id = model.id), 0) AS meaning
  FROM found JOIN documents_chunk c ON c.owner_id = %(owner)s
    AND c.document_id = found.document_id AND c.position = found.position
)
SELECT s.document_id, d.filename, s.page, s.position, s.start, s.end, s.text, s.headings, s.title, s.language,
       %(words_weight)s * s.words + %(meaning_weight)s * s.meaning AS score, s.words, s.meaning,
       s.kind, d.page_kind, s.page_label, s.table_header
FROM scored s JOIN documents_document d ON d.owner_id = %(owner)s AND d.id = s.document_id
ORDER BY score DESC, s.document_id, s.position LIMIT %(limit)s
"""
