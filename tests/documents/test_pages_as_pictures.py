"""Page pictures: drawn once, whole or not at all."""

import errno
import threading
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from fpdf import FPDF

from documents import pages
from documents.models import Document


def pdf(text: str) -> bytes:
    made = FPDF()
    made.add_page()
    made.set_font("Helvetica", size=14)
    made.write(text=text)
    return bytes(made.output())


@pytest.fixture
def document(owner, processed) -> Document:
    return processed(owner, pdf("The Danube flows through Vienna."), "danube.pdf")


def kept(document: Document) -> list[str]:
    return default_storage.listdir(f"{document.owner_id}/{document.id}/pages")[1]


def test_a_picture_is_drawn_once_and_kept(document, monkeypatch):
    first = pages.page_picture(document, 1)
    assert first[:4] == b"RIFF"
    monkeypatch.setattr("documents.pages._with_file", lambda *args: pytest.fail("it is there already"))
    assert pages.page_picture(document, 1) == first


def test_a_full_disk_keeps_no_half_picture(document, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("documents.pages.os.replace", full)
        assert pages.page_picture(document, 1)[:4] == b"RIFF"
    assert kept(document) == []


@pytest.mark.django_db(transaction=True)
def test_many_at_once_leave_one_picture(document):
    def draw():
        pages.page_picture(document, 1)
        connection.close()

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept(document)) == 1


def test_a_page_that_is_not_there_has_no_picture(document, owner, processed):
    for number in (0, 2):
        with pytest.raises(pages.NoSuchPage):
            pages.page_picture(document, number)
    with pytest.raises(pages.NoSuchPage):
        pages.page_picture(processed(owner, "Only text.", "text.txt"), 1)


def test_boxes_lie_on_the_page_where_the_words_are(document, api, owner):
    text = api(owner).get(f"/api/v1/documents/{document.id}/text").json()["text"]
    start = text.index("Vienna")
    url = f"/api/v1/documents/{document.id}/pages/1/boxes?start={start}&end={start + 6}"
    (box,) = api(owner).get(url).json()["boxes"]
    assert 0 < box["left"] < box["right"] < 1
    assert 0 < box["top"] < box["bottom"] < 0.2


@pytest.mark.parametrize("fault", ["no name", "gone", "no bytes"])
def test_without_its_file_a_page_is_told_to_be_missing(document, api, owner, fault):
    if fault == "no name":
        Document.objects.filter(id=document.id).update(file="")
    elif fault == "gone":
        default_storage.delete(document.file.name)
    else:
        Path(document.file.path).write_bytes(b"")
    wanted = (422, "broken") if fault == "no bytes" else (404, "file_missing")
    for path in ("pages/1", "pages/1/boxes?start=0&end=9"):
        answer = api(owner).get(f"/api/v1/documents/{document.id}/{path}")
        assert (answer.status_code, answer.json()["code"]) == wanted
        assert answer.json()["detail"]
    assert fault == "no bytes" or api(owner).get(f"/api/v1/documents/{document.id}/file").status_code == 404
