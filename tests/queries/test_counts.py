"""So many statements a request, however many rows it shows."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from chat.models import Conversation, Message
from chat.seeding import texts
from chat.seeding.libraries import Writer as LibraryWriter
from chat.seeding.plan import times
from chat.seeding.talks import Source
from chat.seeding.talks import Writer as TalksWriter
from documents.importing.models import Import, ImportItem
from documents.models import Collection, Document
from ragsite.accounts.models import ApiToken
from tests.queries.recording import recorded

pytestmark = pytest.mark.django_db
# Each has one for the token with its owner, or for the session's user; what is beyond that is
# - of a list: its page, and what its rows show of other tables (memberships; bodies come with the messages; citations);
# - of a document's page: the document, its memberships, all collections, where its pages or blocks begin;
# - of the library: the page, memberships, collections with their counts, three that foretell how long the queue takes;
# - of a conversation's page: it, its messages, citations, and the list beside it: the pinned ones and the newest.
EXPECTED = {
    "/api/v1/me": 1,
    "/api/v1/tokens": 2,
    "/api/v1/tokens/{token}": 2,
    "/api/v1/language-models": 1,
    "/v1/models": 2,
    "/api/v1/collections": 2,
    "/api/v1/collections/{collection}": 2,
    "/api/v1/queue": 4,
    "/api/v1/documents": 3,
    "/api/v1/documents?collection={collection}": 3,
    "/api/v1/documents?search=turbine": 4,
    "/api/v1/documents/{document}": 4,
    "/api/v1/documents/{document}/why": 2,
    "/api/v1/documents/{document}/text": 3,
    "/api/v1/documents/{document}/chunks": 3,
    "/api/v1/imports": 2,
    "/api/v1/imports/{import}": 2,
    "/api/v1/imports/{import}/items": 3,
    "/api/v1/conversations": 2,
    "/api/v1/conversations?search=turbine": 3,
    "/api/v1/conversations/{conversation}": 4,
    "/api/v1/conversations/{conversation}/messages": 4,
    "/api/v1/messages/{answer}": 3,
    "/settings/tokens/": 2,
    "/library/": 7,
    "/library/?search=turbine": 8,
    "/library/{document}/": 6,
    "/library/{document}/chunks/": 3,
    "/library/{document}/edit/": 5,
    "/library/{document}/delete/": 2,
    "/library/{document}/why/": 2,
    "/library/imports/": 4,
    "/library/collections/new/": 1,
    "/library/collections/{collection}/edit/": 2,
    "/library/collections/{collection}/delete/": 2,
    "/": 4,
    "/?search=turbine": 4,
    "/chat/{conversation}/": 6,
    "/chat/scope/": 3,
    "/chat/{conversation}/scope/": 4,
    "/chat/{conversation}/rename/": 2,
    "/chat/{conversation}/delete/": 2,
}


def filled(owner, rows):
    """So many rows of each kind, and the names of one of each."""
    sentences = texts.sentences()
    collections = [Collection.objects.create(owner=owner, name=f"Files {number}") for number in range(rows)]
    library = LibraryWriter(sentences, {owner.pk: [collection.id for collection in collections]}, None)
    for moment in times(rows):
        library.add(owner.pk, moment, rows)
    library.flush()
    document = Document.objects.for_user(owner).latest("uploaded_at")
    talks = TalksWriter({owner.pk: [Source(document.id, document.filename, 1, 90, "The")] * 3}, sentences)
    for moment in times(rows):
        talks.add(owner.pk, moment, rows)
    talks.flush()
    jobs = [Import.objects.create(owner=owner, kind="address", source="https://example.org/") for _ in range(rows)]
    for position in range(rows):
        ImportItem.objects.create(job=jobs[0], position=position, name=str(position), outcome="refused", code="empty")
    tokens = [ApiToken.issue(owner=owner, name=str(number))[0] for number in range(rows)]
    conversation = Conversation.objects.for_user(owner).latest("updated_at")
    return {
        "document": document.id,
        "collection": collections[0].id,
        "conversation": conversation.id,
        "answer": Message.objects.filter(conversation=conversation, role="assistant").latest("created_at").id,
        "import": jobs[0].id,
        "token": tokens[0].id,
    }


def counted(owner, path):
    api, pages = APIClient(), Client()
    secret = ApiToken.issue(owner=owner, name="counting")[1]
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    pages.force_login(owner, "django.contrib.auth.backends.ModelBackend")
    client = api if path.startswith(("/api/", "/v1/")) else pages
    client.get("/api/v1/me")  # notes when the token was used, once a minute
    with recorded() as statements:
        assert client.get(path).status_code == 200
    return [statement.shape for statement in statements]


@pytest.mark.parametrize("rows", [2, 20])
def test_a_request_takes_as_many_statements_for_twenty_rows_as_for_two(owner, settings, rows):
    settings.CACHES_OFF = {"all"}
    names = filled(owner, rows)
    found = {path: counted(owner, path.format(**names)) for path in EXPECTED}
    assert {path: shapes for path, shapes in found.items() if len(shapes) > EXPECTED[path]} == {}
