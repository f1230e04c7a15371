"""What conversations make of a newer version of a document."""

from collections.abc import Callable
from typing import Any

from django.test import Client
from rest_framework.test import APIClient

from chat.answers import storing
from chat.models import Citation, Conversation
from documents.models import Document
from documents.replacing import replace_document
from documents.services import delete_documents
from processing import pipeline
from ragsite.accounts.models import User
from tests.chat.conftest import RHINE, ask, new_conversation

API = Callable[..., APIClient]
NEWER = RHINE.replace("1,230", "1,233")


def succeed(owner: User, old: Document, upload: Callable[..., Document]) -> Document:
    """The document's newer version, in its place."""
    new = upload(owner, NEWER, "rhine.md")
    replace_document(owner_id=owner.pk, document=new.id, replaced=old.id)
    while pipeline.process_next():
        pass
    return new


def test_citations_of_the_old_version_keep_their_quote_and_name_the_new(
    owner: User, api: API, library: dict[str, Document], upload: Any, signed_in: Callable[[User], Client]
) -> None:
    client = api(owner)
    talk = new_conversation(client)
    answer = ask(client, talk).json()
    (before,) = answer["citations"]
    new = succeed(owner, library["rhine"], upload)
    left = client.get(f"/api/v1/messages/{answer['id']}").json()
    (citation,) = left["citations"]
    assert left["content"] == answer["content"]
    assert citation == before | {
        "document": None,
        "replaced_by": str(new.id),
        "note": "Quoted from an earlier version of this document.",
    }
    page = signed_in(owner).get(f"/chat/{talk}/").content.decode()
    assert f'href="/library/{new.id}/"' in page
    assert "an earlier version" in page
    assert "1,230 kilometres" in page


def test_a_deleted_newer_version_takes_the_old_ones_words_with_it(
    owner: User, api: API, library: dict[str, Document], upload: Any
) -> None:
    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    new = succeed(owner, library["rhine"], upload)
    delete_documents(owner_id=owner.pk, documents=[new.id])
    (citation,) = client.get(f"/api/v1/messages/{answer['id']}").json()["citations"]
    assert (citation["document"], citation["replaced_by"], citation["quote"]) == (None, None, "")
    assert citation["note"] == "The document was deleted."


def test_who_asked_the_old_version_asks_the_new_one(
    owner: User, stranger: User, api: API, library: dict[str, Document], upload: Any
) -> None:
    old, tower = str(library["rhine"].id), str(library["tower"].id)
    client = api(owner)
    talk = new_conversation(client, documents=[tower, old])
    foreign = Conversation.objects.create(owner=stranger, scope_documents=[library["rhine"].id])
    new = succeed(owner, library["rhine"], upload)
    assert client.get(f"/api/v1/conversations/{talk}").json()["documents"] == [tower, str(new.id)]
    (citation,) = ask(client, talk).json()["citations"]
    assert (citation["document"], citation["replaced_by"]) == (str(new.id), None)
    foreign.refresh_from_db()
    assert foreign.scope_documents == [library["rhine"].id]


def test_an_answer_that_is_stored_after_the_change_keeps_its_quotes(
    owner: User, api: API, library: dict[str, Document], upload: Any, monkeypatch: Any
) -> None:
    real = storing.verified_citations

    def too_late(*args: Any) -> Any:
        if not Document.objects.filter(filename="rhine.md").exclude(id=library["rhine"].id).exists():
            succeed(owner, library["rhine"], upload)
        return real(*args)

    monkeypatch.setattr(storing, "verified_citations", too_late)
    client = api(owner)
    answer = ask(client, new_conversation(client)).json()
    (citation,) = answer["citations"]
    assert "1,230 kilometres" in answer["content"]
    assert (citation["document"], citation["verified"]) == (None, True)
    assert (
        citation["replaced_by"]
        == str(Citation.objects.get().document_id)
        == str(Document.objects.get(filename="rhine.md").id)
    )
