"""Files without a row are removed, others never."""

import os
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from documents.models import Document
from documents.sweeping import sweep_files
from ragsite.api.uploads import BoundedUploadHandler
from ragsite.fields import new_id
from ragsite.layout import Layout


@pytest.fixture(autouse=True)
def own_folders(settings, tmp_path) -> None:
    """The files that other tests leave, in this process and in others, are not counted."""
    settings.LAYOUT = Layout(tmp_path / "data")
    settings.LAYOUT.create()
    settings.FILE_UPLOAD_TEMP_DIR = settings.LAYOUT.uploads_dir
    default = settings.STORAGES["default"]
    own = {**default, "OPTIONS": {**default["OPTIONS"], "location": settings.LAYOUT.files_dir}}
    settings.STORAGES = {**settings.STORAGES, "default": own}


def old_id() -> uuid.UUID:
    """An id as it would have been made yesterday."""
    milliseconds = int((timezone.now() - timedelta(days=1)).timestamp() * 1000)
    return uuid.UUID(int=(milliseconds << 80) | (new_id().int & ((1 << 80) - 1)))


def test_a_folder_without_a_row_is_removed_and_all_others_stay(owner, upload, settings):
    kept = upload(owner)
    orphan, young = (f"{owner.pk}/{document}/file" for document in (old_id(), new_id()))
    for name in (orphan, young):
        default_storage.save(name, ContentFile(b"x"))
    broken_off = settings.LAYOUT.uploads_dir / "half"
    broken_off.write_bytes(b"x")
    os.utime(broken_off, (0, 0))
    assert sweep_files() == 2
    assert not default_storage.exists(orphan)
    assert default_storage.exists(young)
    assert default_storage.exists(Document.objects.get(id=kept.id).file.name)
    assert not broken_off.exists()


def test_files_of_another_database_are_left_alone(owner, caplog):
    names = [f"{owner.pk}/{old_id()}/file" for _ in range(30)]
    for name in names:
        default_storage.save(name, ContentFile(b"x"))
    assert sweep_files() == 0
    assert all(default_storage.exists(name) for name in names)
    assert "wrong database" in caplog.text


def test_a_file_whose_request_was_killed_is_removed_and_one_that_still_arrives_is_not(owner, settings, monkeypatch):
    monkeypatch.setattr("ragsite.api.uploads.JUST_MADE_SECONDS", 0)
    left = settings.LAYOUT.uploads_dir / "left.upload.pdf"
    left.write_bytes(b"x")
    handler = BoundedUploadHandler()
    handler.new_file("file", "arriving.pdf", "application/pdf", 1)
    arriving = Path(handler.file.temporary_file_path())
    try:
        assert sweep_files() == 1
        assert not left.exists()
        assert arriving.exists()
    finally:
        handler.file.close()
