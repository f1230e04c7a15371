"""Made accounts, their tokens and collections."""

import random
from datetime import UTC, datetime

from django.contrib.auth.hashers import make_password
from django.db import transaction

from chat.seeding.texts import TOPICS
from documents.models import Collection
from ragsite.accounts.models import ApiToken, User

PREFIX = "seed-"
ISSUED_AS = "seed"
COLLECTIONS = 4


def owners() -> list[int]:
    """The ids of the made accounts; the first has most."""
    return list(User.objects.filter(username__startswith=PREFIX).order_by("id").values_list("id", flat=True))


def make_owners(count: int, password: str | None) -> list[int]:
    """Make what is missing; a password, when given, is set for all of them."""
    have = len(owners())
    # One hash for all: hashing is slow on purpose, and who reads the hashes here has the password anyway.
    hashed = make_password(password)
    names = [f"{PREFIX}{number:05}" for number in range(have + 1, count + 1)]
    with transaction.atomic():
        made = User.objects.bulk_create(
            [User(username=name, email=f"{name}@example.com", password=hashed) for name in names], 1000
        )
        Collection.objects.bulk_create(
            [
                Collection(owner=owner, name=f"{topic} files", created_at=datetime.now(UTC))
                for owner in made
                for topic in random.sample(sorted(TOPICS), COLLECTIONS)
            ],
            1000,
        )
        if password is not None:
            User.objects.filter(username__startswith=PREFIX).update(password=hashed)
    return owners()[:count]


def issue_tokens(count: int) -> list[dict[str, object]]:
    """A new token for each of the first accounts, in the place of those issued before."""
    chosen = User.objects.filter(username__startswith=PREFIX).order_by("id")[:count]
    with transaction.atomic():
        ApiToken.objects.filter(owner__username__startswith=PREFIX, name=ISSUED_AS).delete()
        return [
            {"id": owner.pk, "username": owner.username, "token": ApiToken.issue(owner=owner, name=ISSUED_AS)[1]}
            for owner in chosen
        ]
