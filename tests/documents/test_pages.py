"""The library's pages: as owner, stranger and anonymous; with and without JavaScript; always as many queries."""

import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from fpdf import FPDF

from documents import services
from documents.models import Collection, Document, DocumentText
from documents.passages import WINDOW, read_window
from ragsite.sandbox import SandboxUnavailable

HTMX = {"HTTP_HX_REQUEST": "true"}
MARKDOWN = "# Rivers\n\nThe Amazon <b>flows</b> through Peru.\n\nThe Nile does not.\n"


@pytest.fixture
def document(owner, upload) -> Document:
    return upload(owner, MARKDOWN, "rivers.md")


@pytest.fixture
def done(owner, processed) -> Document:
    return processed(owner, MARKDOWN, "rivers.md")


@pytest.fixture
def collection(owner) -> Collection:
    return Collection.objects.create(owner=owner, name="Reports")


@pytest.fixture
def site(owner, signed_in):
    return signed_in(owner)


def pdf(*lines: str) -> bytes:
    """A page for each line."""
    made = FPDF()
    made.set_font("Helvetica", size=14)
    for line in lines:
        made.add_page()
        made.cell(text=line)
    return bytes(made.output())


def rows(response) -> list[str]:
    return [row.filename for row in response.context["page"].items]


DOCUMENT_PAGES = [
    ("get", "library-document"),
    ("get", "library-passage"),
    ("get", "library-chunks"),
    ("get", "library-edit"),
    ("post", "library-edit"),
    ("get", "library-delete"),
    ("post", "library-delete"),
    ("post", "library-retry"),
    ("post", "library-reprocess"),
]
COLLECTION_PAGES = [
    ("get", "library-edit-collection"),
    ("post", "library-edit-collection"),
    ("get", "library-delete-collection"),
    ("post", "library-delete-collection"),
]
OTHER_PAGES = [
    ("get", "library"),
    ("get", "library-progress"),
    ("post", "library-upload"),
    ("post", "library-delete-selection"),
    ("post", "library-collect-selection"),
    ("get", "library-new-collection"),
]


@pytest.mark.parametrize(("method", "name"), DOCUMENT_PAGES)
def test_a_strangers_document_is_nowhere(method, name, document, stranger, signed_in):
    response = getattr(signed_in(stranger), method)(reverse(name, args=[document.id]), {"filename": "mine.md"})
    assert response.status_code == 404
    assert b"rivers.md" not in response.content
    assert Document.objects.get().filename == "rivers.md"


@pytest.mark.parametrize(("method", "name"), COLLECTION_PAGES)
def test_a_strangers_collection_is_nowhere(method, name, collection, stranger, signed_in):
    response = getattr(signed_in(stranger), method)(reverse(name, args=[collection.id]), {"name": "Mine"})
    assert response.status_code == 404
    assert Collection.objects.get().name == "Reports"


@pytest.mark.parametrize(("method", "name"), [*DOCUMENT_PAGES, *COLLECTION_PAGES, *OTHER_PAGES])
def test_the_anonymous_are_asked_to_sign_in(method, name, client, db):
    path = reverse(name, args=[] if (method, name) in OTHER_PAGES else [uuid.uuid4()])
    response = getattr(client, method)(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/")


def test_a_fragment_for_someone_signed_out_reloads_the_page(client, db):
    response = client.get(reverse("library-progress"), **HTMX)
    assert (response.status_code, response["HX-Refresh"]) == (204, "true")


@pytest.mark.parametrize(("method", "name"), [page for page in DOCUMENT_PAGES if page[0] == "get"])
def test_every_page_of_a_document_opens(method, name, done, site):
    response = site.get(reverse(name, args=[done.id]), follow=True)
    assert response.status_code == 200
    assert "rivers.md" in response.content.decode()
    assert "no-store" in response["Cache-Control"]


def test_an_empty_library_says_what_to_do_first(site):
    assert "Put your first document in" in site.get("/library/").content.decode()


def test_a_name_with_markup_is_shown_as_it_is(owner, upload, site):
    upload(owner, name='<script>alert(1)</script> "x".txt')
    page = site.get("/library/").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" not in page  # the slash in the name: only its last part is kept
    assert "script&gt; &quot;x&quot;.txt" in page


def test_files_are_uploaded_without_javascript_each_with_its_result(site, collection):
    files = [
        SimpleUploadedFile("a.txt", b"Some words."),
        SimpleUploadedFile("b.txt", b""),
        SimpleUploadedFile("c.txt", b"Some words."),
    ]
    response = site.post("/library/upload/", {"file": files, "collection": str(collection.id)}, follow=True)
    told = [str(message) for message in response.context["messages"]]
    assert told[0] == "“a.txt” is uploaded."
    assert told[1].startswith("“b.txt”: ")
    assert told[2] == "“a.txt” is in your library already."
    assert rows(response) == ["a.txt"]
    assert collection.memberships.count() == 1


def test_a_strangers_collection_is_left_out_of_an_upload(site, stranger):
    theirs = Collection.objects.create(owner=stranger, name="Theirs")
    site.post("/library/upload/", {"file": SimpleUploadedFile("a.txt", b"Words."), "collection": str(theirs.id)})
    assert theirs.memberships.count() == 0
    assert Document.objects.count() == 1


def test_the_list_is_narrowed_sorted_and_searched(owner, stranger, upload, site, collection):
    first = upload(owner, "One, two.", "beta report.txt")
    upload(owner, "# Three", "alpha.md")
    upload(stranger, "Four", "beta of a stranger.txt")
    services.set_collections(document=first, collections=[collection])
    assert rows(site.get("/library/")) == ["alpha.md", "beta report.txt"]
    assert rows(site.get("/library/?ordering=-filename")) == ["beta report.txt", "alpha.md"]
    assert rows(site.get("/library/?search=repo")) == ["beta report.txt"]
    assert rows(site.get("/library/?content_type=text/markdown")) == ["alpha.md"]
    assert rows(site.get("/library/?status=failed")) == []
    assert rows(site.get(f"/library/?collection={collection.id}")) == ["beta report.txt"]


@pytest.mark.parametrize("query", ["status=odd", "ordering=odd", "cursor=odd", "collection=odd"])
def test_a_broken_address_leads_to_the_whole_list(query, site):
    assert site.get(f"/library/?{query}")["Location"] == "/library/"


def test_pages_lead_on_and_back(owner, upload, site, monkeypatch):
    monkeypatch.setattr("documents.views.PAGE_SIZE", 2)
    for number in range(3):
        upload(owner, f"Text {number}.", f"{number}.txt")
    first = site.get("/library/")
    assert rows(first) == ["2.txt", "1.txt"]
    second = site.get(f"/library/?cursor={first.context['page'].next_cursor}")
    assert rows(second) == ["0.txt"]
    assert 'rel="prev"' in second.content.decode()


def test_htmx_gets_the_list_alone(document, site):
    page = site.get("/library/", **HTMX).content.decode()
    assert "rivers.md" in page
    assert "<html" not in page


def test_rows_in_work_ask_again_until_nothing_is_in_work(document, site):
    assert f"progress/?id={document.id}" in site.get("/library/").content.decode()
    working = site.get(f"/library/progress/?id={document.id}").content.decode()
    assert 'hx-trigger="every 1s"' in working
    assert f'id="state-{document.id}" hx-swap-oob="true"' in working
    Document.objects.update(status="processed")
    done = site.get(f"/library/progress/?id={document.id}").content.decode()
    assert "hx-trigger" not in done
    assert "Ready" in done


def test_progress_says_nothing_of_a_strangers_rows_and_survives_odd_ids(document, stranger, signed_in):
    page = signed_in(stranger).get(f"/library/progress/?id={document.id}&id=odd").content.decode()
    assert str(document.id) not in page


def test_a_failure_shows_its_reason_and_is_tried_again(document, site):
    Document.objects.update(status="failed", error_code="broken", error_detail="The file is damaged.")
    page = site.get("/library/").content.decode()
    assert "The file is damaged." in page
    assert "Try again anyway" in page
    site.post(reverse("library-retry", args=[document.id]))
    document.refresh_from_db()
    assert document.status == "uploaded"


def test_a_document_in_work_is_not_started_again(document, site):
    response = site.post(reverse("library-reprocess", args=[document.id]), follow=True)
    assert "is being processed right now" in response.content.decode()


def test_renaming_and_collecting(document, site, collection):
    path = reverse("library-edit", args=[document.id])
    assert "<html" not in site.get(path, **HTMX).content.decode()
    response = site.post(
        path, {"filename": "streams.md", "collections": [str(collection.id)], "next": "/library/?status=uploaded"}
    )
    assert response["Location"] == "/library/?status=uploaded"
    document.refresh_from_db()
    assert document.filename == "streams.md"
    assert collection.memberships.count() == 1


def test_an_empty_name_is_refused_with_words(document, site):
    response = site.post(reverse("library-edit", args=[document.id]), {"filename": ""})
    assert "This field is required" in response.content.decode()


def test_a_form_never_sends_people_to_another_site(document, site):
    path = reverse("library-edit", args=[document.id])
    assert site.post(path, {"filename": "a.md", "next": "https://evil.example/"})["Location"] == "/library/"


def test_deleting_asks_first(document, site):
    path = reverse("library-delete", args=[document.id])
    assert "for good" in site.get(path).content.decode()
    assert Document.objects.exists()
    assert site.post(path)["Location"] == "/library/"
    assert not Document.objects.exists()


def test_ticked_documents_are_deleted_after_a_question(owner, stranger, upload, site):
    ids = [str(upload(owner, f"Text {number}.").id) for number in range(2)]
    theirs = upload(stranger, "Theirs.")
    asked = site.post("/library/selection/delete/", {"documents": ids})
    assert "Delete 2 documents?" in asked.content.decode()
    assert Document.objects.count() == 3
    site.post("/library/selection/delete/", {"documents": ids, "confirmed": "1"})
    assert list(Document.objects.values_list("id", flat=True)) == [theirs.id]


@pytest.mark.parametrize("name", ["library-delete-selection", "library-collect-selection"])
def test_a_strangers_document_among_the_ticked_stops_all(name, owner, stranger, upload, site, collection):
    ids = [str(upload(owner).id), str(upload(stranger, "Theirs.").id)]
    response = site.post(reverse(name), {"documents": ids, "collections": [str(collection.id)], "confirmed": "1"})
    assert response.status_code == 302
    assert Document.objects.count() == 2
    assert collection.memberships.count() == 0


def test_nothing_ticked_is_told(site):
    response = site.post("/library/selection/delete/", {"next": "/library/?search=x"}, **HTMX)
    assert response["HX-Redirect"] == "/library/?search=x"


def test_ticked_documents_are_put_into_a_collection(document, site, collection):
    asked = site.post("/library/selection/collect/", {"documents": [str(document.id)]})
    assert "Reports" in asked.content.decode()
    site.post("/library/selection/collect/", {"documents": [str(document.id)], "collections": [str(collection.id)]})
    assert collection.memberships.get().document_id == document.id


def test_a_collection_is_made_renamed_and_deleted_without_its_documents(document, site):
    site.post("/library/collections/new/", {"name": "Papers"})
    made = Collection.objects.get()
    services.set_collections(document=document, collections=[made])
    assert "already" in site.post("/library/collections/new/", {"name": "papers"}).content.decode()
    site.post(reverse("library-edit-collection", args=[made.id]), {"name": "Articles"})
    made.refresh_from_db()
    assert made.name == "Articles"
    site.post(reverse("library-delete-collection", args=[made.id]))
    assert not Collection.objects.exists()
    assert Document.objects.exists()


def test_text_is_shown_escaped_with_the_passage_marked(done, site):
    text = DocumentText.objects.get().text
    start = text.index("flows")
    page = site.get(reverse("library-document", args=[done.id]), {"start": start, "end": start + 5}).content.decode()
    assert "&lt;b&gt;<mark>flows</mark>&lt;/b&gt;" in page


def test_a_passage_over_two_blocks_is_marked_in_both(done, site):
    text = DocumentText.objects.get().text
    span = {"start": text.index("through"), "end": text.index("does")}
    page = site.get(reverse("library-passage", args=[done.id]), span, **HTMX).content.decode()
    assert "<mark>through Peru.</mark>" in page
    assert "<mark>The Nile </mark>" in page


def test_a_long_text_is_shown_in_stretches_that_hang_together(owner, processed):
    paragraphs = [f"Paragraph {number}. " + "Words and words. " * 40 for number in range(120)]
    document = processed(owner, "\n\n".join(paragraphs), "long.txt")
    seen, place = set(), 0
    while place is not None:
        window = read_window(document, place, None)
        shown = [block.spans[0].text for block in window.blocks]
        assert sum(map(len, shown)) <= WINDOW
        seen |= {text.split(".")[0] for text in shown}
        place = window.later
    assert len(seen) == 120


def test_one_endless_line_is_shown_in_stretches_too(owner, processed):
    document = processed(owner, "word " * 30_000, "line.txt")
    window = read_window(document, 80_000, (80_000, 80_004))
    assert window.earlier is not None
    assert window.later is not None
    assert [span.text for block in window.blocks for span in block.spans if span.marked] == ["word"]


def test_a_document_that_is_not_read_yet_says_so(document, site):
    assert "is being read" in site.get(reverse("library-document", args=[document.id])).content.decode()


def test_a_pdf_is_shown_as_pages_with_the_passage_marked(owner, processed, site):
    document = processed(owner, pdf("The first page.", "The second page holds a treasure."), "two.pdf")
    start = DocumentText.objects.get().text.index("treasure")
    span = {"start": start, "end": start + 8}
    whole = site.get(reverse("library-document", args=[document.id]), span)
    assert [picture.number for picture in whole.context["pictures"].pages] == [1, 2]
    beside = site.get(reverse("library-passage", args=[document.id]), span, **HTMX)
    (picture,) = beside.context["pictures"].pages
    (box,) = picture.rectangles
    assert picture.number == 2
    assert 0 < float(box.width) < 0.5
    assert f'<rect x="{box.x}"' in beside.content.decode()


def test_a_page_is_shown_unmarked_while_the_sandbox_is_away(owner, processed, site, monkeypatch):
    document = processed(owner, pdf("A page with words."), "one.pdf")

    def away(*_args):
        raise SandboxUnavailable("away")

    monkeypatch.setattr("documents.viewer.passage_boxes", away)
    page = site.get(reverse("library-document", args=[document.id]), {"start": 0, "end": 6}).content.decode()
    assert "cannot be marked at the moment" in page
    assert f"/api/v1/documents/{document.id}/pages/1" in page


@pytest.mark.parametrize(
    "query", ["page=999", "page=0", "start=5&end=2", "start=x&end=y", "at=99999999", "start=1&end=999999999"]
)
def test_odd_places_open_the_document_all_the_same(query, done, site):
    assert site.get(f"/library/{done.id}/?{query}").status_code == 200


def test_passages_are_listed_with_a_way_to_the_document(done, site):
    page = site.get(reverse("library-chunks", args=[done.id])).content.decode()
    assert "Show in the document" in page
    assert "The Amazon" in page


def test_the_list_takes_as_many_queries_for_twenty_rows_as_for_two(owner, upload, site):
    # session, user, collections, documents, memberships; rates, the queue, places in it, number of failed ones
    collections = [Collection.objects.create(owner=owner, name=f"C{number}") for number in range(3)]

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert site.get("/library/").status_code == 200
        return len(captured)

    for number in range(2):
        upload(owner, f"Text {number}.", collections=collections)
    with_two = queries()
    for number in range(2, 20):
        upload(owner, f"Text {number}.", collections=collections)
    assert queries() == with_two <= 9


def test_passages_take_as_many_queries_for_many_as_for_few(owner, processed, site):
    few = processed(owner, "Two words.", "few.txt")
    many = processed(owner, "\n\n".join(f"Paragraph {n}. " + "Words. " * 200 for n in range(30)), "many.txt")
    counts = []
    for document in (few, many):
        with CaptureQueriesContext(connection) as captured:
            site.get(reverse("library-chunks", args=[document.id]))
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 4


@pytest.mark.parametrize("path", ["/library/", "/", "/accounts/login/", "/nowhere/"])
def test_pages_carry_the_strict_policy_and_no_inline_code(path, document, site):
    response = site.get(path)
    policy = response["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    page = response.content.decode()
    assert " style=" not in page
    assert " onclick=" not in page
    assert page.count("<script") == page.count("<script src=")
