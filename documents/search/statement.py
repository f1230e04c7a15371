"""The SQL statement of a search.

Words: which chunks are ranked, and by which terms, is chosen before (terms.py). A chunk scores Σ idf(t)·ts_rank(t) over
the terms of its language, divided by what a chunk holding every one of them once or twice would score, so that the
number means the same in every query and language. Meaning: documents_nearest() finds chunks by the vectors that stand
for a whole chunk, and the cosine of a chunk is that of its best sentence. The union of both lists' best is scored by
both, and fused (fusion.py).
"""

from functools import cache

CANDIDATES = 50
"""Rows that each of the two rankings gives to the fusion, by words,"""
NEAREST, LARGE_NEAREST, LARGE_LIBRARY = 60, 100, 10_000
"""and by meaning: more, because their order is that of whole chunks, not yet of sentences; most in large libraries."""
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


def nearest(chunks: float) -> int:
    """How many chunks the ranking by meaning gives to the fusion, in a library of so many."""
    return LARGE_NEAREST if chunks > LARGE_LIBRARY else NEAREST


def effort(beside: float) -> int:
    """How many candidates the index looks at (its ``ef_search``): in a large one the nearest are harder to come to."""
    return LARGE_EFFORT if beside > LARGE_INDEX else EFFORT


_MATCHING = """(SELECT document_id, position, language, tsv FROM documents_chunk
     WHERE owner_id = %(owner)s AND ARRAY[owner_id] @> ARRAY[%(owner)s::bigint] AND {condition}
       AND document_id <> ALL ((SELECT documents FROM hidden)::uuid[]) {within}
     LIMIT {most})"""
_WANTED = ("tsv @@ %(wanted)s::tsquery", MOST_RANKED)
_FILLERS = ("tsv @@ %(fillers)s::tsquery AND NOT tsv @@ %(wanted)s::tsquery", MOST_FILLERS)
_WITHIN = "AND document_id = ANY ((SELECT documents FROM scope)::uuid[])"
_SCOPE = """scope AS MATERIALIZED (
  SELECT ARRAY(
    SELECT unnest(%(documents)s::uuid[])
    UNION
    SELECT m.document_id FROM documents_membership m
    WHERE m.owner_id = %(owner)s AND m.collection_id = ANY (%(collections)s::uuid[])
  ) AS documents
),
size AS MATERIALIZED (
  SELECT sum(d.chunk_count) AS chunks FROM documents_document d
  WHERE d.owner_id = %(owner)s AND d.id = ANY ((SELECT documents FROM scope)::uuid[])
),"""
_WHOLE = """scope AS (SELECT NULL::uuid[] AS documents), size AS (SELECT %(chunks)s AS chunks),"""
"""Of the whole library, which is the most frequent scope: what the planner need not look at takes it no time."""
_SEARCH = """
WITH {scope}
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
  WHERE name = ANY (%(models)s::text[])
),
near AS MATERIALIZED (
  SELECT DISTINCT n.document_id, n.position
  FROM models, size, scope, hidden, documents_nearest(%(owner)s, models.id::integer, models.dimensions::integer,
    scope.documents, %(vector)s, %(nearest)s + hidden.chunks, coalesce(size.chunks, 0) <= %(exact_up_to)s, %(effort)s) n
  WHERE n.document_id <> ALL (hidden.documents)
),
found AS (
  SELECT document_id, position, max(score) AS words
  FROM (SELECT document_id, position, score FROM by_words UNION ALL SELECT document_id, position, NULL FROM near) best
  GROUP BY document_id, position
),
scored AS MATERIALIZED (  -- what is shown of a chunk is read at the end, of those that are left
  SELECT found.document_id, found.position, best.start AS sentence_start, best.end AS sentence_end,
    coalesce(found.words, (
      SELECT sum(t.weight * ts_rank(c.tsv, t.query, 1)) FROM documents_chunk c JOIN term t ON t.language = c.language
      WHERE c.owner_id = %(owner)s AND c.document_id = found.document_id AND c.position = found.position
    ), 0) AS words,
    coalesce(best.cosine, 0) AS meaning
  FROM found
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
),
chosen AS MATERIALIZED (
  SELECT s.*, (s.own + %(document_weight)s * e.score) / (1 + %(document_weight)s) AS score
  FROM compared s JOIN evidence e USING (document_id)
  ORDER BY score DESC, s.meaning DESC, s.document_id, s.position LIMIT %(limit)s
)
SELECT s.document_id, d.filename, c.page, s.position, c.start, c.end, c.text, c.headings, c.title, c.language,
       s.score, s.words, s.meaning, c.kind, d.page_kind, c.page_label, c.table_header, s.sentence_start, s.sentence_end
FROM chosen s
JOIN documents_chunk c ON c.owner_id = %(owner)s AND c.document_id = s.document_id AND c.position = s.position
JOIN documents_document d ON d.owner_id = %(owner)s AND d.id = s.document_id
ORDER BY s.score DESC, s.meaning DESC, s.document_id, s.position
"""
WITH_KEPT_PLAN = f"""
SELECT * FROM documents_search(
  %(owner)s, %(languages)s::text[], %(queries)s::text[], %(weights)s::float[], %(wanted)s::tsquery, %(vector)s::text,
  %(models)s::text[], %(nearest)s, %(chunks)s <= %(exact_up_to)s, %(effort)s, %(candidates)s, %(words_weight)s,
  %(meaning_weight)s, %(few_words)s, %(small_spread)s, %(document_weight)s, %(document_hits)s, %(limit)s, {MOST_RANKED})
"""  # noqa: S608
"""The same for a whole library without fillers, by a function whose plan a session keeps: planning takes a third of a
search. Not for large libraries, where that is little, and the words that are asked for decide what is the best plan."""


@cache
def search(whole: bool, with_fillers: bool) -> str:
    """The statement for a scope; ``with_fillers`` for the few questions of which a common word may be the only one that
    is in the library."""
    within = "" if whole else _WITHIN
    matching = [
        _MATCHING.format(condition=condition, within=within, most=most)
        for condition, most in ([_WANTED, _FILLERS] if with_fillers else [_WANTED])
    ]
    return _SEARCH.replace("{scope}", _WHOLE if whole else _SCOPE).replace("{ranked}", " UNION ALL ".join(matching))
