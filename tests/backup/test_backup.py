"""`manage.py backup` and `manage.py restore`, into a database of the tests' server."""

import errno
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from documents.models import Chunk, Document
from documents.services import delete_documents
from documents.sweeping import sweep_files
from ragsite.accounts.models import ApiToken
from ragsite.backup import archive, holding, making, restoring
from ragsite.backup.models import HeldFolder
from ragsite.partitioning import splitting
from ragsite.partitioning.locking import briefly_locked

pytestmark = pytest.mark.django_db(transaction=True)


def backup(folder):
    call_command("backup", str(folder))
    return json.loads((folder / "manifest.json").read_text())


def everything():
    """All rows of all documents and chunks, and the hash of each file."""
    rows = list(Document.objects.order_by("id").values()) + list(Chunk.objects.order_by("document_id").values())
    files = {name: sha256(default_storage.open(name).read()).hexdigest() for name in map(_name, Document.objects.all())}
    return [
        {key: bytes(value) if isinstance(value, memoryview) else value for key, value in row.items()} for row in rows
    ], files


def _name(document):
    return document.file.name


def tables():
    with connection.cursor() as cursor:
        return connection.introspection.table_names(cursor)


def test_a_restored_site_is_the_same_and_its_tokens_hold(owner, files, processed, tmp_path, empty_place, settings):
    processed(owner, "Alpacas eat grass.", "alpaca.txt")
    ApiToken.issue(owner=owner, name="test")
    before, key = everything(), settings.LAYOUT.secret("secret_key")
    migrations = _rows("django_migrations")
    manifest = backup(tmp_path / "b")
    assert (manifest["files"], manifest["missing"]) == (1, [])
    assert manifest["rows"]["documents_document"] == 1
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700
    cache.set("session-of-another-time", {"_auth_user_id": "1"})
    with empty_place() as place:
        call_command("restore", str(tmp_path / "b"))
        assert everything() == before
        assert not (place / "files" / restoring.MARKER).exists()
        assert ApiToken.objects.get().owner.check_password("correct horse battery")
        assert (place / "secrets" / "secret_key").read_text().strip() == key
        assert cache.get("session-of-another-time") is None
        assert _rows("django_session") == _rows("caching_epoch") == []
        assert _rows("django_migrations") == migrations
        with pytest.raises(CommandError, match="not empty"):
            call_command("restore", str(tmp_path / "b"))
        assert everything() == before


def _rows(table):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} HAVING count(*) > 0")
        return cursor.fetchall()


@contextmanager
def changed(folder, **values):
    manifest = folder / "manifest.json"
    before = manifest.read_text()
    manifest.write_text(json.dumps(json.loads(before) | values))
    yield
    manifest.write_text(before)


def test_what_cannot_be_restored_is_refused_and_leaves_the_place_empty(owner, files, upload, tmp_path, empty_place):
    upload(owner)
    folder = tmp_path / "b"
    backup(folder)
    file = next(path for path in (folder / "files").rglob("*") if path.is_file())
    with empty_place() as place:
        with changed(folder, format=2), pytest.raises(CommandError, match="later release"):
            call_command("restore", str(folder))
        with changed(folder, migrations=["documents.9999_later"]), pytest.raises(CommandError, match="9999_later"):
            call_command("restore", str(folder))
        with changed(folder, postgres=99), pytest.raises(CommandError, match="PostgreSQL 99"):
            call_command("restore", str(folder))
        with changed(folder, rows=[]), pytest.raises(CommandError, match="cannot be read"):
            (folder / "manifest.json").write_text("{")
            call_command("restore", str(folder))
        content = file.read_bytes()
        file.write_bytes(b"Other words.")
        with pytest.raises(CommandError, match="damaged"):
            call_command("restore", str(folder))
        file.write_bytes(content)
        dump = folder / "database.dump"
        dump.write_bytes(dump.read_bytes()[:1000])
        with pytest.raises(CommandError, match="damaged"):
            call_command("restore", str(folder))
        with pytest.raises(CommandError, match="is no backup"):
            call_command("restore", str(tmp_path / "nowhere"))
        (place / "files" / "strange").write_text("mine")
        with changed(folder, sha256={}), pytest.raises(CommandError, match="holds strange"):
            call_command("restore", str(folder))
        assert tables() == []
        assert (place / "files" / "strange").read_text() == "mine"


@pytest.mark.slow
def test_a_restore_that_breaks_off_leaves_an_empty_database_and_is_begun_again(
    owner, files, upload, tmp_path, empty_place, monkeypatch
):
    upload(owner)
    folder = tmp_path / "b"
    backup(folder)
    dump = folder / "database.dump"
    whole = dump.read_bytes()
    with empty_place():
        with monkeypatch.context() as patched:
            patched.setattr(archive, "verify", lambda folder, _: archive.listed_files(folder))
            dump.write_bytes(whole[: len(whole) // 2])
            with pytest.raises(CommandError, match="still empty; begin again"):
                call_command("restore", str(folder))
            dump.write_bytes(whole)
        with monkeypatch.context() as patched:
            counts = restoring._count_checks
            other = {"documents_document": 7}
            patched.setattr(restoring, "_count_checks", lambda manifest: counts(replace(manifest, rows=other)))
            with pytest.raises(CommandError, match="is not whole"):
                call_command("restore", str(folder))
        assert tables() == []
        call_command("restore", str(folder))  # over the files that are there
        assert Document.objects.count() == 1


def test_files_that_are_there_are_replaced_only_after_an_interrupted_restore_of_the_same_backup(
    owner, files, upload, tmp_path, empty_place, monkeypatch
):
    document = upload(owner)
    folder = tmp_path / "b"
    backup(folder)
    monkeypatch.setattr(restoring, "_restore_database", _fails)
    with empty_place() as place:
        file = place / "files" / document.file.name
        file.parent.mkdir(parents=True)
        file.write_text("A live site's.")
        with pytest.raises(CommandError, match=f"holds {document.file.name}"):
            call_command("restore", str(folder))
        assert file.read_text() == "A live site's."
        shutil.rmtree(place / "files")
        for _ in range(2):
            with pytest.raises(CommandError, match="begin again"):
                call_command("restore", str(folder))
            file.write_text("Half of i")
        with changed(folder, made_at="another time"), pytest.raises(CommandError, match="holds"):
            call_command("restore", str(folder))
        assert file.read_text() == "Half of i"


def _fails(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_secret_key_of_a_data_folder_that_has_files_is_kept(owner, files, tmp_path, empty_place, settings):
    backup(tmp_path / "b")
    with empty_place() as place:
        (place / "files" / "1").mkdir()
        (place / "secrets" / "secret_key").write_text("another")
        elsewhere = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
        with (
            override_settings(STORAGES={**settings.STORAGES, "default": elsewhere}),
            pytest.raises(CommandError, match="another site's"),
        ):
            call_command("restore", str(tmp_path / "b"))
        assert (place / "secrets" / "secret_key").read_text() == "another"


def test_once_the_database_is_full_a_fault_is_not_told_as_if_it_were_empty(settings, monkeypatch):
    forgotten = []
    monkeypatch.setattr(restoring, "forget_what_was", lambda: forgotten.append(True))
    monkeypatch.setitem(connection.settings_dict, "NAME", "not_there")
    try:
        with pytest.raises(archive.BackupError, match=r"The site is restored, .* run ANALYZE"):
            restoring._finish()
        with pytest.raises(archive.BackupError, match=r"cannot be asked: .*not_there"):
            restoring._refuse_used_database(None)
    finally:
        connection.close()
    assert forgotten == [True]


def test_a_file_that_is_deleted_during_a_backup_stays_until_it_is_done(owner, files, upload, tmp_path, monkeypatch):
    kept, gone = upload(owner, "One."), upload(owner, "Two.")
    copied = making._copy

    def delete_first(name, folder):
        delete_documents(owner_id=owner.pk, documents=[gone.id])
        assert default_storage.exists(gone.file.name)
        assert sweep_files() == 0
        return copied(name, folder)

    monkeypatch.setattr(making, "_copy", delete_first)
    manifest = backup(tmp_path / "b")
    assert (manifest["files"], manifest["missing"]) == (2, [])
    assert manifest["rows"]["documents_document"] == 2
    assert (Document.objects.count(), HeldFolder.objects.count()) == (1, 1)
    assert sweep_files() == 1
    assert not default_storage.exists(gone.file.name)
    assert default_storage.exists(kept.file.name)
    assert not HeldFolder.objects.exists()


def test_a_file_goes_at_once_where_no_backup_runs(owner, files, upload):
    document = upload(owner)
    delete_documents(owner_id=owner.pk, documents=[document.id])
    assert not default_storage.exists(document.file.name)


def test_files_are_left_to_the_sweep_where_the_database_cannot_be_asked(owner, files, upload, monkeypatch):
    from django.db import OperationalError

    def away():
        raise OperationalError("server closed the connection")

    default_storage.save("1/x/y", ContentFile(b"z"))
    monkeypatch.setattr(holding, "_may_go", away)
    holding.release_folder("1/x")
    assert default_storage.exists("1/x/y")


def test_two_backups_at_once_are_one_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "WAIT_SECONDS", 0.2)
    with holding.files_held(connection.get_connection_params()), pytest.raises(CommandError, match="Another backup"):
        backup(tmp_path / "b")
    assert list(tmp_path.glob("b*")) == []


def test_a_folder_that_holds_something_is_not_written_into(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").write_text("x")
    with pytest.raises(CommandError, match="not empty"):
        backup(tmp_path / "b")


def test_a_full_disk_leaves_no_half_of_a_backup(owner, files, upload, tmp_path, monkeypatch):
    upload(owner)

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "copied", full)
    with pytest.raises(CommandError, match="No space left on device"):
        backup(tmp_path / "b")
    assert list(tmp_path.glob("b*")) == []


def test_a_few_files_that_rows_name_and_nobody_has_are_told_and_the_command_fails(
    owner, files, upload, tmp_path, capsys
):
    document = upload(owner)
    shutil.rmtree(files)
    with pytest.raises(CommandError, match="but for 1 missing file") as told:
        backup(tmp_path / "b")
    assert told.value.returncode == 1
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["missing"] == [document.file.name]
    assert document.file.name in capsys.readouterr().err


def test_a_storage_that_lacks_many_files_is_not_backed_up(owner, files, upload, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "PLAUSIBLE", 1)
    upload(owner, "One."), upload(owner, "Two.")
    shutil.rmtree(files)
    with pytest.raises(CommandError, match="does not have 2 of 2 files"):
        backup(tmp_path / "b")
    assert list(tmp_path.glob("b*")) == []


def test_what_a_killed_backup_has_left_goes_with_the_next(tmp_path):
    left, another, other = (tmp_path / f"{name}.unfinished-{end}" for name, end in (("a", 7), ("x", "y"), ("my", "b")))
    for folder in (left, another, other):
        (folder / "files").mkdir(parents=True)
    (other / "letter").write_text("x")
    with making._locked(another):  # as by a backup that is being made, of another site
        backup(tmp_path / "b")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "b", other, another]


def test_a_split_that_stands_unfinished_is_in_no_backup(tmp_path):
    plan = next(splitting.chosen(64, "documents_chunk"))
    briefly_locked(plan.creation())
    try:
        with pytest.raises(CommandError, match=f"{plan.source}.*--undo"):
            backup(tmp_path / "b")
    finally:
        splitting.undo(plan.parent, plan.partition)
    assert backup(tmp_path / "b")["missing"] == []


def test_a_distributed_database_is_not_backed_up_by_one_pg_dump(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "is_sharded", lambda: True)
    with pytest.raises(CommandError, match="citus_create_restore_point"):
        backup(tmp_path / "b")


def test_a_cache_that_cannot_be_emptied_is_told(settings):
    settings.CACHE_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(archive.BackupError, match="empty them before it is started"):
        restoring.forget_what_was()


def test_names_that_lead_out_of_a_backup_are_refused(tmp_path):
    for name in ("../x", "/etc/passwd", "a/../../x"):
        (tmp_path / "files.jsonl").write_text(json.dumps({"name": name, "size": 1, "sha256": ""}) + "\n")
        with pytest.raises(archive.BackupError, match="outside"):
            archive.listed_files(tmp_path)
