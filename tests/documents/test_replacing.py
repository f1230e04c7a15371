"""New versions of documents: the old answers until the new one is processed, then the new one alone."""

import threading
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction

from documents import replacing, services
from documents.models import Chunk, Collection, Document, EarlierVersion, Embedding, Membership
from documents.replacing import CannotReplace, replace_document, replaceable_by
from documents.search import Mode, Scope, search
from documents.versions import current_version
from processing import pipeline
from ragsite.extraction import ExtractionRefused

OLD = "# Budget\n\nThe ferry costs ninety crowns.\n"
NEW = "# Budget\n\nThe ferry costs one hundred crowns.\n"
NEWER = "# Budget\n\nThe ferry costs two hundred crowns.\n"


def found(owner, query="What does the ferry cost?", **scope) -> list:
    return [hit.document_id for hit in search(Scope(owner.pk, **scope), query, mode=Mode.WORDS)]


def process_all():
    while pipeline.process_next():
        pass


def replace(new: Document, old: Document) -> None:
    replace_document(owner_id=new.owner_id, document=new.id, replaced=old.id)


@pytest.fixture
def old(owner, processed) -> Document:
    return processed(owner, OLD, "budget.md")


@pytest.fixture
def new(owner, old, upload) -> Document:
    return upload(owner, NEW, "budget.md")


def test_a_document_of_the_same_name_is_offered_for_replacement(owner, stranger, old, new, upload):
    assert replaceable_by(new) == old
    assert replaceable_by(old) is None  # not by an older one
    assert replaceable_by(upload(stranger, NEWER, "budget.md")) is None
    assert replaceable_by(upload(owner, NEWER, "BUDGET.md")) == new
    assert replaceable_by(upload(owner, "Other.", "other.md")) is None


def test_only_documents_in_the_same_place_are_offered(owner, old, upload):
    home, work = (Collection.objects.create(owner=owner, name=name) for name in ("Home", "Work"))
    at_home = upload(owner, NEW, "budget.md", collections=[home])
    assert replaceable_by(at_home) is None
    assert replaceable_by(upload(owner, NEWER, "budget.md", collections=[work])) is None
    assert replaceable_by(upload(owner, "Home again.", "budget.md", collections=[home])) == at_home


def test_the_old_one_answers_until_the_new_one_is_processed(owner, old, new, monkeypatch):
    replace(new, old)
    monkeypatch.setattr(pipeline, "_embed", lambda lease: (_ for _ in ()).throw(pipeline.SliceEnded))
    pipeline.process_next()
    new.refresh_from_db()
    assert new.searchable  # its chunks are there
    assert Chunk.objects.of(new).exists()
    assert found(owner) == [old.id]
    assert found(owner, documents=(old.id, new.id)) == [old.id]
    monkeypatch.undo()


def test_meaning_finds_the_new_one_only_when_it_is_processed(owner, old, new):
    process_all()
    Document.objects.filter(id=new.id).update(replaces=old)
    assert {hit.document_id for hit in search(Scope(owner.pk), "The ferry", mode=Mode.MEANING)} == {old.id}
    Document.objects.filter(id=new.id).update(replaces=None)
    assert {hit.document_id for hit in search(Scope(owner.pk), "The ferry", mode=Mode.MEANING)} == {old.id, new.id}


def test_the_new_one_takes_the_place_and_leaves_nothing_of_the_old(owner, old, new, django_capture_on_commit_callbacks):
    home = Collection.objects.create(owner=owner, name="Home")
    Membership.objects.create(owner=owner, collection=home, document=old)
    replace(new, old)
    with django_capture_on_commit_callbacks(execute=True):
        process_all()
    assert found(owner) == [new.id]
    assert list(Document.objects.values_list("id", "status", "replaces")) == [(new.id, "processed", None)]
    assert list(Membership.objects.values_list("document", "collection")) == [(new.id, home.id)]
    assert not Chunk.objects.filter(owner=owner, document_id=old.id).exists()
    assert not Embedding.objects.filter(owner=owner, document_id=old.id).exists()
    assert not default_storage.exists(f"{owner.pk}/{old.id}")
    assert current_version(owner.pk, old.id) == new.id


def test_one_that_is_processed_already_replaces_at_once_and_again_changes_nothing(owner, old, new):
    process_all()
    replace(new, old)
    replace(new, old)
    assert list(Document.objects.values_list("id", flat=True)) == [new.id]
    assert EarlierVersion.objects.get().id == old.id


def test_a_new_version_that_fails_leaves_the_old_one(owner, old, new, api, monkeypatch):
    replace(new, old)

    def refuse(*args):
        raise ExtractionRefused("broken", "The file is damaged.")

    monkeypatch.setattr(pipeline, "_extract", refuse)
    process_all()
    assert found(owner) == [old.id]
    shown = api(owner).get(f"/api/v1/documents/{new.id}").json()
    assert (shown["status"], shown["replaces"], shown["searchable"]) == ("failed", str(old.id), False)
    monkeypatch.undo()


def test_a_failed_version_that_is_tried_again_replaces_after_all(owner, old, new, monkeypatch, fake_encoder):
    replace(new, old)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_extract", lambda lease: (_ for _ in ()).throw(ExtractionRefused("broken", "x")))
        process_all()
    services.retry_documents([Document.objects.get(id=new.id)])
    process_all()
    assert found(owner) == [new.id]


def test_a_worker_that_loses_its_lease_at_the_end_replaces_nothing(owner, old, new, monkeypatch):
    replace(new, old)
    real = replacing.take_over

    def lose(**ids):
        Document.objects.filter(id=new.id).update(attempt=uuid4())
        return real(**ids)

    monkeypatch.setattr(pipeline, "take_over", lose)
    pipeline.process_next()
    assert Document.objects.filter(id=old.id).exists()
    assert Document.objects.get(id=new.id).status == "embedding"


def test_the_old_one_deleted_meanwhile_leaves_the_new_one_searchable(owner, old, new):
    replace(new, old)
    services.delete_documents(owner_id=owner.pk, documents=[old.id])
    process_all()
    assert Document.objects.get().replaces is None
    assert found(owner) == [new.id]


def test_the_new_one_deleted_meanwhile_leaves_the_old_one(owner, old, new):
    replace(new, old)
    services.delete_documents(owner_id=owner.pk, documents=[new.id])
    process_all()
    assert found(owner) == [old.id]


def test_of_two_replacements_the_later_one_stays_whichever_is_processed_first(owner, old, new, upload):
    newer = upload(owner, NEWER, "budget.md")
    replace(new, old)
    replace(newer, old)
    assert Document.objects.get(id=newer.id).replaces_id == new.id
    process_all()
    assert found(owner) == [newer.id]
    assert list(Document.objects.values_list("id", flat=True)) == [newer.id]
    assert set(EarlierVersion.objects.values_list("id", "document")) == {(old.id, newer.id), (new.id, newer.id)}


def test_a_newer_version_that_is_ready_first_ends_the_one_in_work(owner, old, new, upload):
    newer = upload(owner, NEWER, "budget.md")
    replace(new, old)
    replace(newer, new)
    Document.objects.filter(id=newer.id).update(status="processed")
    with transaction.atomic():
        assert set(replacing.take_over(owner_id=owner.pk, document=newer.id)) == {old.id, new.id}
    process_all()
    assert list(Document.objects.values_list("id", flat=True)) == [newer.id]


def test_one_deleted_from_the_middle_of_a_chain_is_stepped_over(owner, old, new, upload):
    newer = upload(owner, NEWER, "budget.md")
    replace(new, old)
    replace(newer, new)
    services.delete_documents(owner_id=owner.pk, documents=[new.id])
    assert Document.objects.get(id=newer.id).replaces_id == old.id
    process_all()
    assert list(Document.objects.values_list("id", flat=True)) == [newer.id]


def test_what_was_replaced_meanwhile_is_replaced_in_its_newest_version(owner, old, new, upload):
    newer = upload(owner, NEWER, "budget.md")
    replace(new, old)
    Document.objects.filter(id=newer.id).update(status="failed", error_code="broken")
    process_all()
    replace(newer, old)
    assert Document.objects.get(id=newer.id).replaces_id == new.id


def test_circles_and_second_replacements_are_refused(owner, old, new, upload):
    newer = upload(owner, NEWER, "budget.md")
    other = upload(owner, "Other.", "other.md")
    replace(new, old)
    replace(newer, new)
    for document, replaced in [(old, newer), (old, old), (new, other), (new, newer)]:
        with pytest.raises(CannotReplace):
            replace(document, replaced)


def test_nobody_replaces_what_is_not_theirs(owner, stranger, old, upload):
    theirs = upload(stranger, NEW, "budget.md")
    with pytest.raises(services.DocumentGone):
        replace_document(owner_id=stranger.pk, document=theirs.id, replaced=old.id)
    with pytest.raises(services.DocumentGone):
        replace_document(owner_id=owner.pk, document=theirs.id, replaced=old.id)
    with pytest.raises(IntegrityError), transaction.atomic():
        Document.objects.filter(id=theirs.id).update(replaces=old)
        connection.check_constraints()


@pytest.mark.django_db(transaction=True)
def test_two_that_replace_one_document_at_the_same_time_make_a_chain(owner, old, new, upload):
    newer = upload(owner, NEWER, "budget.md")
    start = threading.Barrier(2)

    def run(document):
        start.wait()
        replace(document, old)
        connection.close()

    threads = [threading.Thread(target=run, args=[document]) for document in (new, newer)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    links = dict(Document.objects.exclude(replaces=None).values_list("id", "replaces"))
    assert len(links) == 2
    assert old.id in links.values()


@pytest.mark.django_db(transaction=True)
def test_a_deletion_at_the_moment_of_the_change_waits_for_it(owner, old, new):
    replace(new, old)
    deleted, threads = [], []
    real = replacing._inherit_collections

    def delete():
        deleted.append(services.delete_documents(owner_id=owner.pk, documents=[old.id, new.id]))
        connection.close()

    def meanwhile(*args):
        threads.append(threading.Thread(target=delete))
        threads[0].start()
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replacing, "_inherit_collections", meanwhile)
        process_all()
    threads[0].join()
    assert deleted == [1]
    assert not Document.objects.exists()
    assert not EarlierVersion.objects.exists()


# Over REST ------------------------------------------------------------------------------------------------------------


def post(client, content=NEW, name="budget.md", **fields):
    file = SimpleUploadedFile(name, content.encode())
    return client.post("/api/v1/documents", {"file": file, **fields}, format="multipart")


def test_an_upload_names_what_it_may_replace_and_does_so_when_told(owner, old, api):
    client = api(owner)
    body = post(client).json()
    assert body["replaces"] is None
    candidate = body["replaces_candidate"]
    assert (candidate["id"], candidate["filename"]) == (str(old.id), "budget.md")
    asked = client.get(f"/api/v1/documents/{body['id']}/replace").json()
    assert asked["replaces_candidate"] == candidate
    accepted = client.post(f"/api/v1/documents/{body['id']}/replace", {"replaces": candidate["id"]})
    assert (accepted.status_code, accepted.json()["replaces"]) == (200, str(old.id))
    kept = client.post(f"/api/v1/documents/{body['id']}/replace", {"replaces": None}, format="json")
    assert kept.json()["replaces"] is None


@pytest.mark.parametrize(
    ("choice", "linked", "offered"), [("offer", False, True), ("replace", True, False), ("keep", False, False)]
)
def test_an_upload_says_what_to_do_with_its_namesake(owner, old, api, choice, linked, offered):
    body = post(api(owner), on_duplicate_name=choice).json()
    assert body["replaces"] == (str(old.id) if linked else None)
    assert bool(body["replaces_candidate"]) == offered


def test_an_upload_replaces_a_document_of_any_name(owner, old, api):
    body = post(api(owner), name="budget-2.md", replaces=str(old.id)).json()
    assert body["replaces"] == str(old.id)
    again = post(api(owner), name="budget-2.md", replaces=str(old.id))
    assert (again.status_code, again.json()["replaces"]) == (200, str(old.id))
    same = post(api(owner), OLD, replaces=str(old.id))
    assert (same.status_code, same.json()["replaces"]) == (200, None)


def test_strangers_documents_and_nonsense_are_refused(owner, stranger, old, api, upload):
    theirs = upload(stranger, NEWER, "budget.md")
    assert post(api(stranger), replaces=str(old.id)).status_code == 404
    assert Document.objects.filter(owner=stranger).count() == 1
    assert post(api(owner), on_duplicate_name="burn").status_code == 400
    client = api(owner)
    mine = post(client).json()["id"]
    assert client.post(f"/api/v1/documents/{mine}/replace", {"replaces": str(theirs.id)}).status_code == 404
    assert client.post(f"/api/v1/documents/{theirs.id}/replace", {"replaces": str(old.id)}).status_code == 404
    assert client.get(f"/api/v1/documents/{theirs.id}/replace").status_code == 404
    refused = client.post(f"/api/v1/documents/{mine}/replace", {"replaces": mine})
    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_replace")


def test_a_repeated_upload_gives_the_version_that_has_replaced_what_it_made(owner, processed, api, old):
    client = api(owner)
    first = client.post(
        "/api/v1/documents", {"file": SimpleUploadedFile("a.md", b"One.")}, format="multipart", HTTP_IDEMPOTENCY_KEY="k"
    )
    process_all()
    second = post(client, "Two.", "b.md", replaces=first.json()["id"])
    process_all()
    again = client.post(
        "/api/v1/documents", {"file": SimpleUploadedFile("a.md", b"One.")}, format="multipart", HTTP_IDEMPOTENCY_KEY="k"
    )
    assert again.json()["id"] == second.json()["id"]
    assert Document.objects.filter(owner=owner).count() == 2


# In the browser -------------------------------------------------------------------------------------------------------


def test_the_page_offers_replaces_and_leads_from_the_old_to_the_new(owner, stranger, old, signed_in):
    site = signed_in(owner)
    told = site.post("/library/upload/", {"file": SimpleUploadedFile("budget.md", NEW.encode())}, follow=True)
    new = Document.objects.exclude(id=old.id).get()
    assert f"/library/{new.id}/replace/" in told.content.decode()
    assert "is there already" in site.get(f"/library/{new.id}/replace/").content.decode()
    assert f"/library/{new.id}/replace/" in site.get("/library/").content.decode()  # and stays to be found
    assert signed_in(stranger).post(f"/library/{new.id}/replace/").status_code == 404
    site.post(f"/library/{new.id}/replace/")
    assert "The earlier version answers" in site.get("/library/").content.decode()
    process_all()
    moved = site.get(f"/library/{old.id}/")
    assert (moved.status_code, moved["Location"]) == (302, f"/library/{new.id}/")
    assert signed_in(stranger).get(f"/library/{old.id}/").status_code == 404
