"""Imports: archives that nobody has reason to trust, made documents file by file."""

import errno
import io
import stat
import struct
import threading
import zipfile
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.utils import timezone

from documents import sweeping, tasks
from documents.importing import archive as archives
from documents.importing import running, services
from documents.importing.models import Import, ImportItem
from documents.importing.running import run_next
from documents.models import Collection, Document
from documents.services import UploadRefused

pytestmark = pytest.mark.django_db

ROUTE = "/api/v1/documents/import"


def packed(files, compression=zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive of these names (or ZipInfos) and contents."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return made.getvalue()


@pytest.fixture
def imported(api):
    """``imported(owner, data)``: send an archive, let it be imported, and read what is told of it and of its files."""

    def send(user, data, name="papers.zip", **fields):
        client = api(user)
        answer = client.post(ROUTE, {"file": SimpleUploadedFile(name, data), **fields}, format="multipart")
        assert answer.status_code == 202, answer.content
        while run_next():
            pass
        told = client.get(answer["Location"]).json()
        items = client.get(f"{answer['Location']}/items?page_size=100").json()["results"]
        return told, {item["name"]: (item["outcome"], item["code"]) for item in items}

    return send


def test_each_file_becomes_a_document_and_the_archive_does_not_stay(owner, imported):
    papers = Collection.objects.create(owner=owner, name="Papers")
    data = packed({"a.txt": "Alpha.", "inner/b.md": "# Beta", "inner/": "", "again.txt": "Alpha.", "x.bin": b"\x7fELF"})
    told, items = imported(owner, data, collection=str(papers.id))
    assert (told["status"], told["total"], told["done"]) == ("done", 4, 4)
    assert (told["created"], told["known"], told["refused"]) == (2, 1, 1)
    assert items == {
        "a.txt": ("created", ""),
        "inner/b.md": ("created", ""),
        "again.txt": ("known", ""),
        "x.bin": ("refused", "unsupported"),
    }
    assert set(papers.documents.values_list("filename", flat=True)) == {"again.txt", "a.txt", "b.md"} - {"again.txt"}
    assert told["finished_at"]
    job = Import.objects.get()
    assert not default_storage.exists(job.file.name)


def test_folders_become_collections_when_that_is_wanted(owner, imported):
    Collection.objects.create(owner=owner, name="REPORTS/2019")
    data = packed({"Reports/2019/a.txt": "Alpha.", "Reports/b.txt": "Beta.", "c.txt": "Gamma."})
    imported(owner, data, folders="true")
    found = {row.name: [d.filename for d in row.documents.all()] for row in Collection.objects.filter(owner=owner)}
    assert found == {"REPORTS/2019": ["a.txt"], "Reports": ["b.txt"]}


def test_names_never_become_paths(owner, imported):
    names = ["../../etc/passwd.txt", "/root/b.txt", "C:\\Windows\\c.txt", "d\x00e\n.txt", "f/../../g.txt"]
    told, _ = imported(
        owner, packed([(zipfile.ZipInfo(name), f"Text {number}.") for number, name in enumerate(names)]), folders="true"
    )
    assert told["created"] == 5
    assert set(Document.objects.values_list("filename", flat=True)) == {
        "passwd.txt", "b.txt", "c.txt", "d", "g.txt"
    }  # fmt: skip
    assert all(".." not in document.file.name for document in Document.objects.all())
    assert all(".." not in row.name for row in Collection.objects.all())


def test_names_in_other_encodings_are_read(owner, imported):
    raw = packed({"Bericht_XX.txt": "Text."}).replace(b"Bericht_XX", "Berichtß_".encode())
    imported(owner, raw)
    assert Document.objects.get().filename.startswith("Berichtß")


def test_hidden_files_and_links_are_left_out(owner, imported):
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    files = [
        ("__MACOSX/._a.txt", "x"),
        (".git/config", "x"),
        ("Thumbs.db", "x"),
        (link, "/etc/passwd"),
        ("a.txt", "Alpha."),
    ]
    told, items = imported(owner, packed(files))
    assert (told["left_out"], told["created"]) == (4, 1)
    assert items["link.txt"] == ("left_out", "")


def test_archives_that_are_documents_stay_documents(owner, imported):
    book = packed({"mimetype": "application/epub+zip", "META-INF/container.xml": "<x/>"}, zipfile.ZIP_STORED)
    _, items = imported(owner, book, name="book.epub")
    assert items == {"book.epub": ("created", "")}
    assert Document.objects.get().content_type == "application/epub+zip"
    _, items = imported(owner, packed({"a.epub": book, "b.zip": packed({"c.txt": "Gamma."})}))
    assert items == {"a.epub": ("known", ""), "b.zip": ("refused", "unsupported")}


def test_an_encrypted_file_is_refused_and_the_others_are_taken(owner, imported):
    data = bytearray(packed({"secret.txt": "Secret.", "open.txt": "Open."}))
    data[data.find(b"PK\x01\x02") + 8] |= 1
    _, items = imported(owner, bytes(data))
    assert items == {"secret.txt": ("refused", "encrypted"), "open.txt": ("created", "")}


def test_a_bomb_is_refused_by_its_ratio(owner, imported):
    _, items = imported(owner, packed({"zeros.txt": b"0" * (50 << 20), "open.txt": "Open."}))
    assert items == {"zeros.txt": ("refused", "too_large"), "open.txt": ("created", "")}


def test_a_size_that_is_a_lie_gives_no_more_than_it_says(owner, imported):
    data = bytearray(packed({"zeros.txt": b"0" * (50 << 20)}))
    start = data.find(b"PK\x01\x02")
    data[start + 24 : start + 28] = struct.pack("<I", 1000)
    _, items = imported(owner, bytes(data))
    assert items == {"zeros.txt": ("refused", "broken")}


def test_a_damaged_file_is_refused_and_the_others_are_taken(owner, imported):
    text = "".join(chr(97 + number % 26) * (number % 7) for number in range(5000))
    data = bytearray(packed({"bad.txt": text, "good.txt": "Good."}))
    data[200:230] = bytes(30)
    _, items = imported(owner, bytes(data))
    assert items == {"bad.txt": ("refused", "broken"), "good.txt": ("created", "")}


def test_an_archive_that_is_none_is_refused_at_once_and_a_damaged_one_fails_with_its_reason(owner, imported, api):
    answer = api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", b"Rar!")}, format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported")
    assert not Import.objects.exists()
    told, items = imported(owner, b"PK\x03\x04 and nothing of it true")
    assert (told["status"], told["error"]["code"], items) == ("failed", "broken", {})
    assert not default_storage.exists(Import.objects.get().file.name)


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 1), ("DIRECTORY_BYTES", 40), ("MOST_UPLOADS", 0)])
def test_an_archive_beyond_the_limits_is_refused_as_a_whole(owner, imported, monkeypatch, limit, value):
    monkeypatch.setattr(archives, limit, value)
    told, items = imported(owner, packed({"a.txt": "Alpha.", "b.txt": "Beta."}))
    assert (told["status"], told["error"]["code"], items) == ("failed", "too_large", {})
    assert not Document.objects.exists()


def test_a_list_of_files_of_any_claimed_size_is_not_read(owner):
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 60_000, 60_000, 900 << 20, 0, 0)
    with pytest.raises(UploadRefused, match=r"too long|damaged"):
        archives.open_archive(io.BytesIO(b"PK\x03\x04" + end))


def test_an_import_that_was_killed_goes_on_where_it_was(owner, api, monkeypatch, signed_in):
    data = packed({f"{number}.txt": f"Text {number}." for number in range(6)})
    api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", data)}, format="multipart")
    note, noted = running._note, []

    def killed(job, position, *rest, **values):
        if position == 3 and not noted:
            noted.append(position)
            raise SystemExit
        note(job, position, *rest, **values)

    monkeypatch.setattr(running, "_note", killed)
    with pytest.raises(SystemExit):
        run_next()
    job = Import.objects.get()
    assert (job.status, job.done) == ("running", 3)
    assert run_next() is None  # somebody may be working on it
    Import.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert run_next().id == job.id
    job.refresh_from_db()
    assert (job.status, job.done, job.crashes) == ("done", 6, 0)
    assert list(job.items.order_by("position").values_list("position", flat=True)) == list(range(6))
    assert Document.objects.count() == 6


def test_an_import_that_kills_whoever_works_on_it_is_given_up(owner, api):
    api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", packed({"a.txt": "Alpha."}))}, format="multipart")
    Import.objects.update(crashes=4, lease_expires_at=timezone.now() - timedelta(seconds=1), status="running")
    run_next()
    job = Import.objects.get()
    assert (job.status, job.error_code) == ("failed", "crashed")


def test_one_that_was_taken_over_changes_nothing_more(owner, api, monkeypatch):
    data = packed({f"{number}.txt": f"Text {number}." for number in range(3)})
    api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", data)}, format="multipart")
    import_member = running._import_member

    def overtaken(job, position, *rest):
        if position == 1:
            Import.objects.update(attempt=None)
        import_member(job, position, *rest)

    monkeypatch.setattr(running, "_import_member", overtaken)
    run_next()
    job = Import.objects.get()
    assert (job.status, job.done, ImportItem.objects.count()) == ("running", 1, 1)


def test_on_a_full_disk_it_waits_says_so_and_goes_on(owner, api, monkeypatch, settings):
    data = packed({"a.txt": "Alpha.", "b.txt": "Beta."})
    client = api(owner)
    where = client.post(ROUTE, {"file": SimpleUploadedFile("a.zip", data)}, format="multipart")["Location"]
    upload = running.upload_document

    def full(**values):
        if values["filename"] == "b.txt":
            raise OSError(errno.ENOSPC, "No space left on device")
        return upload(**values)

    monkeypatch.setattr(running, "upload_document", full)
    assert run_next()
    told = client.get(where).json()
    assert (told["status"], told["done"]) == ("waiting", 1)
    assert "disk is full" in told["waiting_for"]
    assert run_next() is None
    monkeypatch.undo()
    Import.objects.update(due_at=timezone.now())
    run_next()
    told = client.get(where).json()
    assert (told["status"], told["created"], told["waiting_for"]) == ("done", 2, "")


def test_a_disk_that_is_full_at_the_beginning_leaves_nothing(owner, api, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(services, "_save", full)
    answer = api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", packed({}))}, format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert not Import.objects.exists()
    assert not default_storage.exists(str(owner.pk)) or not any(map(len, default_storage.listdir(str(owner.pk))))


def test_another_users_import_is_not_there(owner, stranger, api):
    where = api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", packed({}))}, format="multipart")["Location"]
    other = api(stranger)
    assert other.get(where).status_code == other.delete(where).status_code == 404
    assert other.get(f"{where}/items").status_code == 404
    assert other.get("/api/v1/imports").json()["results"] == []
    assert len(api(owner).get("/api/v1/imports").json()["results"]) == 1


def test_one_that_is_deleted_stops_and_its_documents_stay(owner, api, imported, monkeypatch):
    import_member = running._import_member

    def deleted(job, position, *rest):
        if position == 1:
            assert api(owner).delete(f"/api/v1/imports/{job.id}").status_code == 204
        import_member(job, position, *rest)

    monkeypatch.setattr(running, "_import_member", deleted)
    data = packed({f"{number}.txt": f"Text {number}." for number in range(3)})
    api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", data)}, format="multipart")
    run_next()
    assert not Import.objects.exists()
    assert Document.objects.count() == 2  # the second was being stored


def test_the_same_request_again_is_the_same_import(owner, api):
    client, data = api(owner), packed({"a.txt": "Alpha."})
    sent = [
        client.post(ROUTE, {"file": SimpleUploadedFile("a.zip", data)}, format="multipart", HTTP_IDEMPOTENCY_KEY="one")
        for _ in range(2)
    ]
    assert [answer.status_code for answer in sent] == [202, 202]
    assert Import.objects.count() == 1
    assert sent[1]["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "body", [{}, {"url": "https://a.example", "file": True}, {"url": "ftp://a.example/x"}, {"url": "x"}]
)
def test_what_names_no_source_is_refused(owner, api, body):
    if body.get("file"):
        body = {**body, "file": SimpleUploadedFile("a.zip", packed({}))}
    answer = api(owner).post(ROUTE, body, format="multipart" if body.get("file") else "json")
    assert answer.status_code == 400


def test_nobody_waits_behind_anothers_many(owner, stranger, api):
    for user in (owner, owner, stranger):
        api(user).post(ROUTE, {"file": SimpleUploadedFile("a.zip", packed({}))}, format="multipart")
    first = running._claim()
    second = running._claim()
    assert {first.owner_id, second.owner_id} == {owner.pk, stranger.pk}
    assert running._claim() is None


def test_the_archive_of_a_waiting_import_is_no_orphan(owner, api, monkeypatch):
    monkeypatch.setattr("documents.sweeping.GRACE", timedelta(seconds=-60))
    api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", packed({}))}, format="multipart")
    job = Import.objects.get()
    assert list(sweeping._orphans(owner.pk, [job.id])) == []
    Import.objects.all().delete()
    assert list(sweeping._orphans(owner.pk, [job.id])) == [(owner.pk, job.id)]


def test_long_archives_give_way_to_others(owner, stranger, api, monkeypatch):
    monkeypatch.setattr(running, "SLICE_SECONDS", -1)
    data = packed({f"{number}.txt": f"Text {number}." for number in range(3)})
    for user in (owner, stranger):
        api(user).post(ROUTE, {"file": SimpleUploadedFile("a.zip", data)}, format="multipart")
    order = []
    while job := run_next():
        order.append(job.owner.username)
    assert order[:3] == ["owner", "stranger", "owner"]
    assert set(Import.objects.values_list("status", "done")) == {("done", 3)}


@pytest.mark.django_db(transaction=True)
def test_threads_of_upkeep_do_the_work(owner, api):
    api(owner).post(ROUTE, {"file": SimpleUploadedFile("a.zip", packed({"a.txt": "Alpha."}))}, format="multipart")
    running.work_on_imports()
    for thread in threading.enumerate():
        if thread.name == "import":
            thread.join(30)
    assert Import.objects.get().status == "done"
    running.work_on_imports()
    assert not any(thread.name == "import" for thread in threading.enumerate())


def test_while_the_database_is_away_imports_wait_and_one_line_says_so(monkeypatch, caplog):
    def away():
        raise OperationalError("the server is gone\nand more")

    monkeypatch.setattr(tasks, "work_on_imports", away)
    monkeypatch.setattr(tasks, "close_old_connections", lambda: None)
    tasks.run_imports()
    assert caplog.messages == ["imports wait, the database is away: the server is gone"]
