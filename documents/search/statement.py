"""The SQL statement of a search.

Words: which chunks are ranked, and by which terms, is chosen before (terms.py). A chunk scores Σ idf(t)·ts_rank(t) over
the terms of its language, divided by what a chunk holding every one of them once or twice would score, so that the
number means the same in every query and language. Meaning: documents_nearest() finds chunks by the vectors that stand
for a whole chunk, and the cosine of a chunk is that of its best sentence. The union of both lists' best is scored by
both, and fused (fusion.py).
"""

CANDIDATES = 50
"""Rows that each of the two rankings gives to the fusion, by words,"""
NEAREST = 100
"""and by meaning: twice as many, because their order is that of whole chunks, not yet of sentences."""
EXACT_UP_TO = 3000
"""Chunks in scope up to which meaning is ranked exactly, which takes a microsecond each; above, by the HNSW index."""
EFFORT, LARGE_EFFORT, LARGE_INDEX = 200, 400, 200_000
VISITED_PER_EXACT = 1000
"""What the index costs where others' chunks stand between: see exact_up_to()."""
MOST_RANKED = 6000
"""Chunks that are ranked by words at all: a bound for a question of one common word;"""
MOST_FILLERS = 1500
"""and of those that hold but a common word of it."""


def exact_up_to(beside: float) -> int:
    """Chunks in scope up to which the exact way is quicker, where so many stand in the partition and its index.

    Among P chunks of which n are in scope the index visits P / n for each that is found, so that it costs as P / n and
    the exact way as n: they are equal at √(constant · P). Measured in a partition of a million: 3,000 chunks 17 ms
    exactly, 10,000 56 against 220, 30,000 240 against 180, 100,000 700 against 91 (on a machine five times too busy).
    """
    return max(EXACT_UP_TO, int((VISITED_PER_EXACT * beside) ** 0.5))


def effort(beside: float) -> int:
    """How many candidates the index looks at (its ``ef_search``): in a large one the nearest are harder to come to."""
    return LARGE_EFFORT if beside > LARGE_INDEX else EFFORT


_MATCHING = """(SELECT document_id, position, language, tsv FROM documents_chunk
     WHERE owner_id = %(owner)s AND ARRAY[owner_id] @> ARRAY[%(owner)s::bigint] AND {condition}
       AND document_id <> ALL ((SELECT documents FROM hidden)::uuid[])
       AND ((SELECT documents FROM scope) IS NULL OR document_id = ANY ((SELECT documents FROM scope)::uuid[]))
     LIMIT {most})"""
_WANTED = _MATCHING.format(condition="tsv @@ %(wanted)s::tsquery", most=MOST_RANKED)
_FILLERS = _MATCHING.format(
    condition="tsv @@ %(fillers)s::tsquery AND NOT tsv @@ %(wanted)s::tsquery", most=MOST_FILLERS
)
_SEARCH = """
WITH scope AS MATERIALIZED (
  SELECT CASE WHEN %(whole)s THEN NULL ELSE ARRAY(
    SELECT unnest(%(documents)s::uuid[])
    UNION
    SELECT m.document_id FROM documents_membership m
    WHERE m.owner_id = %(owner)s AND m.collection_id = ANY (%(collections)s::uuid[])
  ) END AS documents
),
hidden AS MATERIALIZED (  -- new versions of documents whose old ones answer until these are processed
  SELECT coalesce(array_agg(id), '{}') AS documents, least(coalesce(sum(chunk_count), 0), 1000)::integer AS chunks
  FROM documents_document WHERE owner_id = %(owner)s AND replaces_id IS NOT NULL
),
term AS MATERIALIZED (
  SELECT language, query::tsquery, weight
  FROM unnest(%(languages)s::text[], %(queries)s::text[], %(weights)s::float[]) AS term(language, query, weight)
),
by_words AS MATERIALIZED (
  SELECT c.document_id, c.position,
    (SELECT sum(t.weight * ts_rank(c.tsv, t.query, 1)) FROM term t WHERE t.language = c.language) AS score
  FROM (
    {ranked}
  ) c
  ORDER BY 3 DESC, 1, 2 LIMIT %(candidates)s
),
models AS MATERIALIZED (
  SELECT id, dimensions FROM documents_embeddingmodel
  WHERE name = ANY (%(models)s) AND %(vector)s IS NOT NULL AND %(meaning_weight)s > 0
),
size AS MATERIALIZED (
  SELECT CASE WHEN scope.documents IS NULL THEN %(chunks)s
    ELSE (SELECT sum(d.chunk_count) FROM documents_document d
          WHERE d.owner_id = %(owner)s AND d.id = ANY (scope.documents)) END AS chunks
  FROM scope
),
near AS MATERIALIZED (
  SELECT DISTINCT n.document_id, n.position
  FROM models, size, scope, hidden, documents_nearest(%(owner)s, models.id::integer, models.dimensions::integer,
    scope.documents, %(vector)s, %(nearest)s + hidden.chunks, coalesce(size.chunks, 0) <= %(exact_up_to)s, %(effort)s) n
  WHERE n.document_id <> ALL (hidden.documents)
),
found AS (SELECT document_id, position FROM by_words UNION SELECT document_id, position FROM near),
scored AS MATERIALIZED (
  SELECT c.document_id, c.position, c.page, c.start, c.end, c.text, c.headings, c.title, c.language,
    c.kind, c.page_label, c.table_header, best.start AS sentence_start, best.end AS sentence_end,
    coalesce((SELECT sum(t.weight * ts_rank(c.tsv, t.query, 1)) FROM term t WHERE t.language = c.language), 0) AS words,
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
SEARCH = _SEARCH.replace("{ranked}", _WANTED)
SEARCH_WITH_FILLERS = _SEARCH.replace("{ranked}", f"{_WANTED} UNION ALL {_FILLERS}")
"""The same, for the few questions of which a common word may be the only one that is in the library."""
