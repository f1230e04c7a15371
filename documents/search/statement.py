"""The one SQL statement of a search.

Words: of the query's terms, stemmed in each language of the library, the document frequency is counted in a sample of
the owner's chunks, and how many chunks there are is told by how far the sample reaches among their random keys. Which
chunks are ranked at all is chosen by the rare terms and by pairs of the next ones: ranking each chunk that holds a
common word would take seconds. A chunk scores Σ idf(t)·ts_rank(t) over the terms of its language, divided by what a
chunk holding every one of them once or twice would score, so that the number means the same in every query and
language. Meaning: documents_nearest() finds chunks by the vectors that stand for a whole chunk, and the cosine of a
chunk is that of its best sentence. The union of both lists' best is scored by both, and fused (fusion.py).
"""

SAMPLE_SIZE = 500
CANDIDATES = 50
"""Rows that each of the two rankings gives to the fusion, by words,"""
NEAREST = 100
"""and by meaning: twice as many, because their order is that of whole chunks, not yet of sentences."""
EXACT_UP_TO = 5000
"""Chunks in scope up to which meaning is ranked exactly; above, by the HNSW index."""
TERMS_READ = 64
"""Terms of a query that are looked at, from its beginning."""
TERMS_SCORED = 32
"""The rarest of them, which are scored."""
SMALL_LIBRARY = 2000
"""Chunks up to which all are ranked that hold any of the terms."""
ROWS_BY_TERMS = 500
"""Chunks that single terms may bring in, by estimate: the rarest first, one always."""
PAIRED = 4
"""So many of the next terms bring in the chunks that hold two of them,"""
ROWS_BY_PAIRS = 1500
"""up to this many by estimate: really two or three times as many, for words of one subject stand together."""
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
  SELECT language, lexeme, variants.query, numnode(variants.query) / 2 + 1 AS variants FROM (
    SELECT language, word.lexeme,
      row_number() OVER (PARTITION BY language ORDER BY word.positions[1], word.lexeme) AS place
    FROM documents_languages(%(owner)s) AS language, unnest(documents_tsvector(language, %(words)s)) AS word
    WHERE %(words_weight)s > 0
  ) read, LATERAL (SELECT CASE
    -- PostgreSQL reads the number in ABC-12345 as negative: it is meant with and without its sign.
    WHEN lexeme ~ '^-?[0-9][0-9.,]*$'
    THEN quote_literal(ltrim(lexeme, '-')) || ' | ' || quote_literal('-' || ltrim(lexeme, '-'))
    ELSE quote_literal(lexeme) END::tsquery AS query) variants
  WHERE place <= %(terms_read)s
),
hidden AS MATERIALIZED (  -- new versions of documents whose old ones answer until these are processed
  SELECT coalesce(array_agg(id), '{}') AS documents, least(coalesce(sum(chunk_count), 0), 1000)::integer AS chunks
  FROM documents_document WHERE owner_id = %(owner)s AND replaces_id IS NOT NULL
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
  SELECT lexeme, (SELECT count(*) FROM sample WHERE sample.tsv @@ t.query)::float AS df
  FROM (SELECT DISTINCT lexeme, query FROM terms) t
),
weighted AS MATERIALIZED (
  SELECT language, lexeme, query, variants, idf, rows FROM (
    SELECT t.language, t.lexeme, t.query, t.variants, i.idf,
      greatest(c.df, 0.1) / greatest(s.size, 1) * s.chunks AS rows,
      row_number() OVER (PARTITION BY t.language ORDER BY i.idf DESC, t.lexeme) AS place
    FROM terms t JOIN counted c USING (lexeme), sampled s,
      LATERAL (SELECT ln(1 + (s.size - c.df + 0.5) / (c.df + 0.5)) AS idf) i
  ) rarest WHERE place <= %(terms_scored)s
),
ranked AS (
  SELECT language, query, rows, sum(rows) OVER by_rarity AS total, row_number() OVER by_rarity AS place
  FROM weighted WINDOW by_rarity AS (PARTITION BY language ORDER BY rows, lexeme)
),
single AS MATERIALIZED (
  SELECT language, query::text, place FROM ranked, sampled
  WHERE sampled.chunks <= %(small_library)s OR total <= %(rows_by_terms)s OR place = 1
),
rest AS (
  SELECT r.language, query, rows, place, row_number() OVER (PARTITION BY r.language ORDER BY place) AS nth
  FROM ranked r JOIN (SELECT language, max(place) AS taken FROM single GROUP BY language) s USING (language)
  WHERE place > taken
),
paired AS (SELECT * FROM rest WHERE nth <= %(paired)s),
pair AS (
  SELECT format('((%%s) & (%%s))', a.query, b.query) AS query,
    sum(1.5 * a.rows * b.rows / s.chunks) OVER by_rarity AS total, row_number() OVER by_rarity AS place
  FROM paired a JOIN paired b ON a.language = b.language AND a.place < b.place, sampled s
  WINDOW by_rarity AS (PARTITION BY a.language ORDER BY a.rows * b.rows, a.place, b.place)
),
wanted AS MATERIALIZED (
  SELECT string_agg(query, ' | ')::tsquery AS query FROM (
    SELECT query FROM single
    UNION ALL SELECT query FROM pair WHERE total <= %(rows_by_pairs)s OR place = 1
    UNION ALL SELECT query::text FROM rest r
    WHERE NOT EXISTS (SELECT FROM rest other WHERE other.language = r.language AND other.nth > 1)
  ) chosen
),
total AS MATERIALIZED (
  SELECT language, sum(w.idf) * %(one_match)s * %(saturation)s / (1 + ln(1 + max(s.lexemes))) AS score
  FROM weighted w, sampled s GROUP BY language
),
by_words AS MATERIALIZED (
  SELECT c.document_id, c.position,
         (SELECT sum(w.idf * w.variants * ts_rank(c.tsv, w.query, 1)) FROM weighted w WHERE w.language = c.language)
           / (SELECT score FROM total WHERE total.language = c.language) AS score
  FROM documents_chunk c
  WHERE c.owner_id = %(owner)s AND ARRAY[c.owner_id] @> ARRAY[%(owner)s::bigint]
    AND c.tsv @@ (SELECT query FROM wanted)
    AND c.document_id <> ALL ((SELECT documents FROM hidden)::uuid[])
    AND ((SELECT documents FROM scope) IS NULL OR c.document_id = ANY ((SELECT documents FROM scope)::uuid[]))
  ORDER BY 3 DESC, 1, 2 LIMIT %(candidates)s
),
models AS MATERIALIZED (
  SELECT id, dimensions FROM documents_embeddingmodel
  WHERE name = ANY (%(models)s) AND %(vector)s IS NOT NULL AND %(meaning_weight)s > 0
),
size AS MATERIALIZED (
  SELECT CASE WHEN scope.documents IS NULL THEN sampled.chunks
    ELSE (SELECT sum(d.chunk_count) FROM documents_document d
          WHERE d.owner_id = %(owner)s AND d.id = ANY (scope.documents)) END AS chunks
  FROM scope, sampled
),
near AS MATERIALIZED (
  SELECT DISTINCT n.document_id, n.position
  FROM models, size, scope, hidden, documents_nearest(%(owner)s, models.id::integer, models.dimensions::integer,
    scope.documents, %(vector)s, %(nearest)s + hidden.chunks, coalesce(size.chunks, 0) <= %(exact_up_to)s) n
  WHERE n.document_id <> ALL (hidden.documents)
),
found AS (SELECT document_id, position FROM by_words UNION SELECT document_id, position FROM near),
scored AS MATERIALIZED (
  SELECT c.document_id, c.position, c.page, c.start, c.end, c.text, c.headings, c.title, c.language,
    c.kind, c.page_label, c.table_header, best.start AS sentence_start, best.end AS sentence_end,
    coalesce((SELECT sum(w.idf * w.variants * ts_rank(c.tsv, w.query, 1))
              FROM weighted w WHERE w.language = c.language)
             / (SELECT score FROM total WHERE total.language = c.language), 0) AS words,
    coalesce(best.cosine, 0) AS meaning
  FROM found JOIN documents_chunk c ON c.owner_id = %(owner)s
    AND c.document_id = found.document_id AND c.position = found.position
  LEFT JOIN LATERAL (
    SELECT e.start, e.end, 1 - (e.vector <=> %(vector)s::halfvec) AS cosine FROM documents_embedding e
    WHERE e.owner_id = %(owner)s AND e.document_id = found.document_id AND e.position = found.position
      AND e.model_id = ANY (ARRAY(SELECT id FROM models))
    ORDER BY e.part = 0, cosine DESC LIMIT 1
  ) best ON true
),
bounds AS (
  SELECT max(words) AS most_words, max(meaning) AS nearest, (
    SELECT min(meaning) FROM (
      SELECT meaning FROM scored WHERE meaning > 0 ORDER BY meaning DESC LIMIT %(candidates)s) best
  ) AS farthest
  FROM scored
),
compared AS MATERIALIZED (
  SELECT s.*, %(words_weight)s * s.words / (b.most_words + %(few_words)s)
    + %(meaning_weight)s * coalesce(
        greatest(s.meaning - b.farthest, 0) / (b.nearest - b.farthest + %(small_spread)s), 0) AS own
  FROM bounds b, scored s
),
evidence AS (
  SELECT document_id, sum(own - least) / %(document_hits)s AS score FROM (
    SELECT document_id, own, min(own) OVER () AS least,
      row_number() OVER (PARTITION BY document_id ORDER BY own DESC) AS place
    FROM compared
  ) best WHERE place <= %(document_hits)s GROUP BY document_id
)
SELECT s.document_id, d.filename, s.page, s.position, s.start, s.end, s.text, s.headings, s.title, s.language,
       (s.own + %(document_weight)s * e.score) / (1 + %(document_weight)s) AS score,
       s.words, s.meaning, s.kind, d.page_kind, s.page_label, s.table_header, s.sentence_start, s.sentence_end
FROM compared s JOIN evidence e USING (document_id)
JOIN documents_document d ON d.owner_id = %(owner)s AND d.id = s.document_id
ORDER BY score DESC, s.meaning DESC, s.document_id, s.position LIMIT %(limit)s
"""
