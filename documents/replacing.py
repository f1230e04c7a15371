"""A new version of a file takes the place of the old one as soon as it is processed; until then the old one answers."""

import contextlib
from functools import partial
from uuid import UUID

from django.db import models, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Lower

from documents.caching import names_changed
from documents.models import Collection, Document, EarlierVersion, Membership
from documents.services import DocumentGone, Upload, delete_files, delete_rows
from documents.signals import documents_replaced
from documents.versions import current_version, lock_versions, newest_version, versions_below


class CannotReplace(ValueError):
    """What is asked for makes no sense; the message is for people."""


def replaceable_by(document: Document) -> Document | None:
    """The newest older document of the same name beside this one (in a collection of its, or like it in none)."""
    if document.replaces_id:
        return None
    namesakes = (
        Document.objects.filter(owner=document.owner_id, uploaded_at__lte=document.uploaded_at, replacements=None)
        .alias(lower_name=Lower("filename"))
        .filter(lower_name=document.filename.lower())
        .exclude(id=document.id)
    )
    if not namesakes.exists():  # as for most uploads: what follows is as much again
        return None
    memberships = Membership.objects.filter(owner=document.owner_id, document=OuterRef("id"))
    beside = list(document.memberships.filter(owner=document.owner_id).values_list("collection", flat=True))
    in_place = Exists(memberships.filter(collection__in=beside)) if beside else ~Exists(memberships)
    return namesakes.filter(in_place).order_by("-uploaded_at", "-id").first()


@transaction.atomic
def replace_document(*, owner_id: int, document: UUID, replaced: UUID) -> None:
    """Have a document take the place of another one as soon as it is processed; at once when it is.

    Said again it changes nothing. Where another version is to take that place already, this one comes after it.
    Raises DocumentGone, and CannotReplace.
    """
    lock_versions(owner_id)
    new = Document.objects.filter(owner_id=owner_id, id=document).select_for_update().first()
    old = current_version(owner_id, replaced)
    if new is None or old is None:
        raise DocumentGone
    if old == document and replaced != document:  # it has done so already
        return
    _link(new, old)
    names_changed(owner_id)
    if new.status == Document.Status.PROCESSED:
        take_over(owner_id=owner_id, document=document)


def _link(new: Document, old: UUID) -> None:
    below = versions_below(new.owner_id, new.id)
    if old in below:
        return
    if below:
        raise CannotReplace("This document replaces another one already.")
    last = newest_version(new.owner_id, old)
    if last == new.id or new.id in versions_below(new.owner_id, last):
        raise CannotReplace("A document cannot replace itself or a newer version.")
    Document.objects.filter(owner_id=new.owner_id, id=new.id).update(replaces=last)


def take_over(*, owner_id: int, document: UUID) -> list[UUID]:
    """Put a document in the place of all that it is to replace; inside the transaction that makes it processed.

    The old ones go with all that was derived from them, but for quotes in answers. Returns their ids.
    """
    lock_versions(owner_id)
    old = versions_below(owner_id, document)
    if old:
        names_changed(owner_id)
        # Locked before citations are moved: one that is being stored now is seen, and a later one waits.
        list(
            Document.objects.filter(owner_id=owner_id, id__in=old).order_by("id").select_for_update().values_list("id")
        )
        _inherit_collections(owner_id, document, old)
        _remember(owner_id, document, old)
        documents_replaced.send(Document, owner_id=owner_id, document_ids=old, document_id=document)
        Document.objects.filter(owner_id=owner_id, id=document).update(replaces=None)
        delete_rows(owner_id, old)
        for identifier in old:
            transaction.on_commit(partial(delete_files, owner_id, identifier))
    return old


def _inherit_collections(owner_id: int, document: UUID, old: list[UUID]) -> None:
    ids = Membership.objects.filter(owner=owner_id, document__in=old).values("collection")
    collections = Collection.objects.filter(owner=owner_id, id__in=ids).order_by("id").select_for_update(no_key=True)
    rows = [Membership(owner_id=owner_id, collection=entry, document_id=document) for entry in collections]
    Membership.objects.bulk_create(rows, ignore_conflicts=True)


def _remember(owner_id: int, document: UUID, old: list[UUID]) -> None:
    """By ids alone: nothing that the old ones said is kept here."""
    EarlierVersion.objects.filter(owner=owner_id, document__in=old).update(document=document)
    EarlierVersion.objects.bulk_create(
        EarlierVersion(id=identifier, owner_id=owner_id, document_id=document) for identifier in old
    )


@transaction.atomic
def keep_both(*, owner_id: int, document: UUID) -> None:
    """Have a document stand beside what it was to replace."""
    lock_versions(owner_id)
    Document.objects.filter(owner_id=owner_id, id=document).update(replaces=None)
    names_changed(owner_id)


class OnDuplicateName(models.TextChoices):
    """What an upload does where a document of its name is."""

    OFFER = "offer"
    REPLACE = "replace"
    KEEP = "keep"


def settle_upload(
    upload: Upload, *, replaces: UUID | None = None, on_duplicate_name: str = OnDuplicateName.OFFER
) -> Document | None:
    """Have what was uploaded replace what it shall. Returns the document whose replacement is to be offered.

    What it shall replace may be deleted meanwhile: then it replaces nothing. Raises CannotReplace.
    """
    document = upload.document
    if replaces is None and (upload.created or on_duplicate_name == OnDuplicateName.REPLACE):
        namesake = replaceable_by(document) if on_duplicate_name != OnDuplicateName.KEEP else None
        if on_duplicate_name == OnDuplicateName.OFFER or namesake is None:
            return namesake
        replaces = namesake.id
    if replaces is not None and replaces != document.id:
        with contextlib.suppress(DocumentGone):
            replace_document(owner_id=document.owner_id, document=document.id, replaced=replaces)
    return None
