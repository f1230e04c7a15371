"""Search: what it finds, for whom, and that each statement reads one partition."""

import json
import re
import threading
from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
from django.db import connection

from documents.models import Chunk, Collection, Embedding, EmbeddingModel, Membership
from documents.search import Mode, Scope, highlights, kept, ranking, search, statement
from documents.search.neighbours import MOST_JOINED, joined
from documents.search.sample import COUNTS
from documents.search.sentences import sentence_vectors
from documents.search.terms import READ, QuestionTerms, read_terms
from documents.search_results import result
from documents.serializers import ResultSerializer
from documents.vectors import index_name, means_name, register_model, vector_literal

RIVERS = "# Rivers\n\nThe Danube flows through Vienna and Budapest.\n"
HILLS = "# Hills\n\nThe Matterhorn stands in Switzerland and Italy.\n"
JAPANESE = "# 川\n\n信濃川は日本で一番長い川である。\n\n# 山\n\n富士山は日本で一番高い山である。\n"


@pytest.fixture
def library(owner, processed):
    return {name: processed(owner, text, name) for name, text in {"rivers.md": RIVERS, "hills.md": HILLS}.items()}


def names(hits) -> list[str]:
    return [hit.filename for hit in hits]


def test_words_and_meaning_find_the_passage(owner, library):
    hits = search(Scope(owner.pk), "Which river flows through Vienna?")
    assert hits[0].filename == "rivers.md"
    assert RIVERS[hits[0].start : hits[0].end] == hits[0].text
    assert hits[0].words > hits[-1].words
    assert 1 >= hits[0].score > hits[-1].score >= 0


def test_words_are_stemmed_in_the_documents_language(owner, library):
    assert names(search(Scope(owner.pk), "flowing", mode=Mode.WORDS)) == ["rivers.md"]


def test_japanese_is_found_by_its_words(owner, processed):
    processed(owner, JAPANESE, "nihon.md")
    hits = search(Scope(owner.pk), "富士山の高さ", mode=Mode.WORDS)
    assert "富士山" in hits[0].text


def test_nobody_finds_what_is_not_theirs(owner, stranger, library):
    assert search(Scope(stranger.pk), "Danube") == []
    ids = tuple(document.id for document in library.values())
    assert search(Scope(stranger.pk, documents=ids), "Danube") == []


def test_a_scope_narrows_to_documents_and_collections(owner, library):
    collection = Collection.objects.create(owner=owner, name="High")
    Membership.objects.create(owner=owner, collection=collection, document=library["hills.md"])
    question = "The Danube in Vienna"
    assert names(search(Scope(owner.pk, documents=(library["hills.md"].id,)), question)) == ["hills.md"]
    assert names(search(Scope(owner.pk, collections=(collection.id,)), question)) == ["hills.md"]
    both = Scope(owner.pk, documents=(library["rivers.md"].id,), collections=(collection.id,))
    assert names(search(both, question)) == ["rivers.md", "hills.md"]


def test_a_document_is_found_by_words_before_it_is_embedded(owner, library):
    Embedding.objects.all().delete()
    assert names(search(Scope(owner.pk), "Danube")) == ["rivers.md"]


@pytest.mark.parametrize("query", ["", "   ", "'", "a:*b & | !", "\x00", "?" * 3000, "\\", "'; DROP TABLE x; --", "%s"])
def test_any_query_is_survived(owner, library, query):
    assert isinstance(search(Scope(owner.pk), query), list)


def test_highlights_are_offsets_of_the_words_asked_for(owner, library):
    (hit,) = search(Scope(owner.pk), "flowing Vienna", mode=Mode.WORDS)
    assert [RIVERS[start:end] for start, end in highlights(hit, "flowing Vienna")] == ["flows", "Vienna"]


def plan_of(sql: str, parameters) -> str:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql, parameters)
        return json.dumps(cursor.fetchone()[0])


def partitions(plan: str, table: str) -> set[str]:
    return set(re.findall(rf"{table}_p\d\d", plan))


def test_the_search_statement_reads_one_partition_of_each_table(owner, library):
    with connection.cursor() as cursor:
        terms = read_terms(cursor, owner.pk, "Danube")
    parameters = ranking._parameters(Scope(owner.pk), terms, np.ones(384, dtype=np.float32), 10, Mode.FUSED)
    plan = plan_of(statement.search(True, False), parameters)
    assert len(partitions(plan, "documents_chunk")) == 1
    assert len(partitions(plan, "documents_embedding")) == 1


@pytest.mark.parametrize("sql", [READ, COUNTS])
def test_the_statements_that_read_the_terms_read_one_partition(owner, library, sql):
    plan = plan_of(sql, {"owner": owner.pk, "words": "Danube", "sample": 500, "most": 64, "queries": ["'danub'"]})
    assert len(partitions(plan, "documents_chunk")) == 1


@pytest.mark.parametrize("name", ["of", "for_user"])
def test_chunk_querysets_read_one_partition(owner, library, name):
    document = library["rivers.md"]
    queryset = Chunk.objects.of(document) if name == "of" else Chunk.objects.for_user(owner)
    assert len(partitions(queryset.explain(), "documents_chunk")) == 1


def test_a_join_from_the_document_to_its_chunks_reads_one_partition(owner, library):
    plan = Chunk.objects.for_user(owner).filter(document__filename="rivers.md").explain()
    assert len(partitions(plan, "documents_chunk")) == 1


def test_the_nearest_statement_reads_one_partition_exactly_and_by_index(owner, library):
    model = Embedding.objects.first().model_id
    vector = vector_literal(np.ones(384, dtype=np.float32))
    statements = [
        f"SELECT 1 FROM documents_embedding e WHERE e.owner_id = {owner.pk} AND e.model_id = {model} "
        f"ORDER BY (e.vector::halfvec(384) <=> '{vector}'::halfvec(384)){tail} LIMIT 5"
        for tail in ("", " + 0")
    ]
    for sql in statements:
        assert len(partitions(plan_of(sql, None), "documents_embedding")) == 1


@pytest.fixture
def many(owner, processed):
    """600 chunks more, so that the index is used when it is told to be."""
    texts = "\n\n".join(f"# Topic {i}\n\n" + f"alpha{i} beta{i % 7} gamma " * 40 for i in range(300))
    return processed(owner, texts, "many.md")


def nearest(owner, exact: bool, documents=None, wanted: int = 20, effort: int = 200) -> list[tuple]:
    model = EmbeddingModel.objects.get().id
    vector = vector_literal(np.linspace(1, 2, 384, dtype=np.float32))
    ids = None if documents is None else [str(entry) for entry in documents]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT document_id, position, round(distance::numeric, 5) FROM "
            "documents_nearest(%s, %s, 384, %s::uuid[], %s, %s, %s, %s) ORDER BY 3, 1, 2 LIMIT %s",
            [owner.pk, model, ids, vector, wanted, exact, effort, wanted],
        )
        return cursor.fetchall()


def test_a_filter_never_gives_fewer_rows_than_exist_by_either_way(owner, stranger, many, library, processed):
    processed(stranger, RIVERS, "theirs.md")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE documents_embedding")
        cursor.execute("SET LOCAL enable_seqscan = off")
    small = [library["rivers.md"].id, library["hills.md"].id]
    chunks = sum(document.chunk_count for document in library.values())
    for exact in (False, True):
        assert len(nearest(owner, exact)) == 20
        assert len(nearest(owner, exact, documents=small)) == chunks
        assert len(nearest(stranger, exact)) == 1


def test_more_rows_than_wanted_are_never_given_and_both_ways_agree_on_the_best(owner, many):
    exact, indexed = nearest(owner, exact=True), nearest(owner, exact=False)
    assert exact[0] == indexed[0]
    assert len(set(exact) & set(indexed)) >= 15


def test_the_effort_of_one_search_is_not_that_of_the_next(owner, many):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('hnsw.ef_search')")
        before = cursor.fetchone()
        assert nearest(owner, exact=False, effort=777)
        cursor.execute("SELECT current_setting('hnsw.ef_search')")
        assert cursor.fetchone() == before


def test_search_over_rest(owner, stranger, api, library):
    response = api(owner, scopes=["read"]).post("/api/v1/search", {"query": "Danube", "limit": 1})
    assert response.status_code == 200
    (result,) = response.json()["results"]
    document = library["rivers.md"]
    assert (result["document"], result["filename"], result["page"]) == (str(document.id), "rivers.md", None)
    assert set(result["scores"]) == {"words", "meaning"}
    span = result["highlights"][0]
    assert RIVERS[span["start"] : span["end"]] == "Danube"
    assert api(stranger).post("/api/v1/search", {"query": "Danube"}).json() == {"results": []}


def test_the_answer_over_rest_is_what_its_serializer_describes(owner, library):
    (hit, *_) = search(Scope(owner.pk), "Danube")
    paged = replace(hit, page=3, page_label="iv", page_kind="sheet", table_header="a | b")
    for entry in (hit, paged):
        assert result(entry, "Danube") == ResultSerializer(entry, context={"query": "Danube"}).data


def test_search_in_what_is_not_ones_own_is_not_found(owner, stranger, api, library):
    ids = [str(library["rivers.md"].id)]
    response = api(stranger).post("/api/v1/search", {"query": "Danube", "documents": ids})
    assert response.status_code == 404
    assert "documents" in response.json()["errors"]


@pytest.mark.parametrize(
    "body",
    [{}, {"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "limit": 101}, {"query": "x", "documents": "y"}],
)
def test_a_bad_search_is_told_what_is_wrong(owner, api, fake_encoder, body):
    assert api(owner).post("/api/v1/search", body).status_code == 400


def test_search_without_the_encoder_says_when_to_try_again(owner, api, library, fake_encoder):
    fake_encoder.down = True
    response = api(owner).post("/api/v1/search", {"query": "Danube"})
    assert (response.status_code, response.json()["code"]) == (503, "encoder_unavailable")
    assert response["Retry-After"]


def test_a_document_with_many_passages_that_fit_comes_before_one_with_a_single_one(owner, processed):
    section = (
        "# Part {0}\n\nThe warehouse in Gothenburg has gate {0}, and here it is described at length. " + "word " * 90
    )
    processed(owner, "\n\n".join(section.format(number) for number in range(4)), "warehouse.md")
    processed(owner, section.format(0), "other.md")
    hits = search(Scope(owner.pk), "warehouse in Gothenburg")
    assert hits[0].filename == "warehouse.md"
    assert all(0 <= hit.score <= 1 for hit in hits)


def test_words_count_the_same_whatever_other_languages_the_library_holds(owner, library, processed):
    alone = search(Scope(owner.pk), "Which river flows through Vienna?")[0]
    processed(owner, JAPANESE, "nihon.md")
    processed(owner, "# Flüsse\n\nDie Elbe fließt durch Dresden und Hamburg in die Nordsee.\n", "fluesse.md")
    among = next(hit for hit in search(Scope(owner.pk), "Which river flows through Vienna?") if hit.title == "Rivers")
    assert among.words == pytest.approx(alone.words, rel=0.3)


def test_the_best_sentence_is_told(owner, processed):
    text = "# Cities\n\nVienna lies on the Danube in Austria, near Bratislava. Berlin lies on the Spree in Germany.\n"
    processed(owner, text, "cities.md")
    (hit,) = search(Scope(owner.pk), "Berlin Spree Germany")
    assert text[hit.sentence_start : hit.sentence_end] == "Berlin lies on the Spree in Germany."


@pytest.mark.parametrize("query", ["ABC-12345", "12345", "abc 12345", "-12345"])
def test_codes_are_found_with_and_without_what_stands_before_the_number(owner, library, processed, query):
    processed(owner, "# Parts\n\nThe valve ABC-12345 belongs to the second pump.\n", "parts.md")
    assert names(search(Scope(owner.pk), query, mode=Mode.WORDS)) == ["parts.md"]


def test_a_file_that_is_named_in_the_question_is_found(owner, library, processed):
    processed(owner, "We met in June and agreed on everything there was.\n", "board_minutes.md")
    hits = search(Scope(owner.pk), "What does board_minutes.md say?", mode=Mode.WORDS)
    assert names(hits) == ["board_minutes.md"]


def test_copies_of_a_passage_do_not_fill_the_list(owner, library, processed):
    letter = "# Letter {}\n\nWe thank you for the years together on the Danube and wish you well in Vienna. {}\n"
    for number in range(4):
        processed(owner, letter.format("", " " * number), f"letter{number}.md")
    hits = search(Scope(owner.pk), "the years together on the Danube", limit=3)
    assert len([hit for hit in hits if "wish you well" in hit.text]) == 2
    assert len(search(Scope(owner.pk), "the years together on the Danube", limit=10)) == 6


LONG = "# Canals\n\n" + " ".join(
    f"The canal number {n} was dug in the year {1700 + n} by many workers who lived in the towns beside it."
    for n in range(30)
)


def test_neighbours_of_which_the_border_cuts_a_paragraph_are_one_passage(owner, library, processed):
    document = processed(owner, LONG, "canals.md")
    assert document.chunk_count > MOST_JOINED
    hits = [hit for hit in search(Scope(owner.pk), "canal dug by workers") if hit.filename == "canals.md"]
    assert len(hits) == -(-document.chunk_count // MOST_JOINED)
    assert all(hit.text == LONG[hit.start : hit.end] for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(
    "other", [{"headings": ("Other",)}, {"page": 9}, {"kind": "table"}, {"gap": 2}, {"document_id": UUID(int=1)}]
)
def test_neighbours_of_different_blocks_stay_apart(owner, library, other):
    (hit, *_) = search(Scope(owner.pk), "Danube")
    following = replace(hit, position=hit.position + 1, start=hit.end, end=hit.end + 5, text="Other")
    assert len(joined(owner.pk, [following, hit], 10)) == 1
    gap = other.pop("gap", 0)
    apart = replace(following, start=following.start + gap, end=following.end + gap, **other)
    assert joined(owner.pk, [apart, hit], 10) == [apart, hit]


def test_the_vectors_of_a_chunks_sentences_are_the_owners_alone(owner, stranger, processed, fake_encoder):
    text = "# Cities\n\nVienna lies on the Danube in Austria, near Bratislava. Berlin lies on the Spree in Germany.\n"
    document = processed(owner, text, "cities.md")
    chunk = (document.id, 0)
    found = sentence_vectors(owner.pk, [chunk])[chunk]
    assert [text[sentence.start : sentence.end] for sentence in found][-1] == "Berlin lies on the Spree in Germany."
    assert all(np.linalg.norm(sentence.vector) == pytest.approx(1, abs=0.01) for sentence in found)
    assert not sentence_vectors(stranger.pk, [chunk])
    assert not sentence_vectors(owner.pk, [])


def test_the_exact_way_can_read_an_index_that_holds_the_vectors_of_chunks_alone(owner, many):
    model = EmbeddingModel.objects.get()
    vector = vector_literal(np.ones(384, dtype=np.float32))
    with connection.cursor() as cursor:
        for way in ("seqscan", "indexscan", "bitmapscan"):  # none of whose pages is known to be visible here
            cursor.execute(f"SET LOCAL enable_{way} = off")
    plan = plan_of(
        f"SELECT e.document_id, e.position FROM documents_embedding e WHERE e.owner_id = {owner.pk} "
        f"AND e.model_id = {model.id} AND e.part = 0 ORDER BY e.vector <=> '{vector}'::halfvec(384) LIMIT 60",
        None,
    )
    assert "Index Only Scan" in plan


def test_vectors_too_long_for_a_b_tree_have_the_graph_alone(owner):
    model = register_model("wide", 1536)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s), to_regclass(%s)", [index_name(model), means_name(model)])
        graph, means = cursor.fetchone()
    assert graph is not None
    assert means is None


@pytest.mark.parametrize("mode", Mode)
def test_the_kept_plan_gives_what_the_statement_gives(owner, library, processed, monkeypatch, mode):
    processed(owner, JAPANESE, "nihon.md")
    vector = None if mode is Mode.WORDS else np.linspace(1, 2, 384, dtype=np.float32)
    scope, asked = Scope(owner.pk), ("Danube in Vienna", "富士山", "nobody said this", "")
    found = [ranking.rank(scope, query, vector, 10, mode) for query in asked]
    monkeypatch.setattr(ranking, "is_sharded", lambda: True)
    assert [ranking.rank(scope, query, vector, 10, mode) for query in asked] == found
    assert found[0]


def test_a_large_library_is_searched_by_a_plan_of_its_own(owner, library, monkeypatch):
    small, large = (QuestionTerms(chunks, chunks) for chunks in (10, statement.LARGE_LIBRARY + 1))
    assert ranking._statement(Scope(owner.pk), small) == statement.WITH_KEPT_PLAN
    assert ranking._statement(Scope(owner.pk), large) == statement.search(True, False)
    assert ranking._statement(Scope(owner.pk, documents=()), small) == statement.search(False, False)


def test_the_terms_are_read_while_the_vector_is_made(owner, library, fake_encoder, monkeypatch):
    read, in_time = threading.Event(), []

    def read_first(*arguments):
        terms = read_terms(*arguments)
        read.set()
        return terms

    def embed(text):
        in_time.append(read.wait(60))
        return np.ones(384, dtype=np.float32)

    monkeypatch.setattr(ranking, "read_terms", read_first)
    monkeypatch.setattr(fake_encoder, "embed_query", embed)
    assert kept.search(Scope(owner.pk), "Danube")
    assert in_time == [True]
