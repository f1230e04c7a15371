"""People and the tokens of their programs."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper
from django.utils import timezone

from ragsite.fields import new_id


class User(AbstractUser):
    """A person; our own class from the first migration, because it cannot be exchanged later."""

    class Meta:
        db_table = "accounts_user"
        constraints = [
            # Sign-in and sign-up compare names without case (allauth: username__iexact).
            models.UniqueConstraint(Upper("username"), name="accounts_user_username_upper_uniq"),
        ]
        indexes = [
            # Sign-in by e-mail and password reset (email__iexact).
            models.Index(Upper("email"), name="accounts_user_email_upper_idx"),
            # The admin's list, newest first.
            models.Index(fields=["-date_joined", "-id"], name="accounts_user_joined_idx"),
        ]


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def for_user(self, user: User) -> "ApiTokenQuerySet":
        return self.filter(owner=user)

    def usable(self) -> "ApiTokenQuerySet":
        """Neither revoked nor expired, and its owner may sign in."""
        not_expired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(not_expired, revoked_at=None, owner__is_active=True)

    def not_revoked(self) -> "ApiTokenQuerySet":
        return self.filter(revoked_at=None)

    def matching(self, secret: str) -> "ApiTokenQuerySet":
        return self.filter(digest=ApiToken.digest_of(secret))


class ApiToken(models.Model):
    """A named bearer token. Only its SHA-256 is kept: the secret has 256 random bits, so no slow hash is needed."""

    READ, WRITE = "read", "write"
    SCOPES = (READ, WRITE)
    PREFIX: ClassVar[str] = "rag_"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(User, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.BinaryField(max_length=32, editable=False)
    hint = models.CharField(max_length=12, editable=False, help_text="The first characters, to recognise it by.")
    scopes = ArrayField(models.CharField(max_length=10, choices=[(scope, scope) for scope in SCOPES]))
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        db_table = "accounts_apitoken"
        verbose_name = "API token"
        indexes = [
            # A person's list of tokens, newest first; the id is in time's order.
            models.Index(fields=["owner", "-id"], name="accounts_apitoken_owner_idx"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["digest"], name="accounts_apitoken_digest_uniq"),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=["read", "write"]) & Q(scopes__len__gt=0),
                name="accounts_apitoken_scopes_check",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @staticmethod
    def digest_of(secret: str) -> bytes:
        return hashlib.sha256(secret.encode()).digest()

    @classmethod
    def issue(
        cls, *, owner: User, name: str, scopes: list[str] | None = None, expires_at: datetime | None = None
    ) -> tuple["ApiToken", str]:
        """Make a token; returns it with its secret, which cannot be had again."""
        secret = cls.PREFIX + secrets.token_urlsafe(32)
        token = cls.objects.create(
            owner=owner,
            name=name,
            digest=cls.digest_of(secret),
            hint=secret[:8],
            scopes=scopes or list(cls.SCOPES),
            expires_at=expires_at,
        )
        return token, secret

    @property
    def state(self) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= timezone.now() else "active"

    def revoke(self) -> None:
        """End the token at once; the row stays, so that its use can be looked up."""
        self.revoked_at = timezone.now()
        self.save(update_fields=["revoked_at"])


class IdempotencyKeyQuerySet(models.QuerySet["IdempotencyKey"]):
    def for_user(self, user: User) -> "IdempotencyKeyQuerySet":
        return self.filter(owner=user)

    def older_than(self, age: timedelta) -> "IdempotencyKeyQuerySet":
        return self.filter(created_at__lt=timezone.now() - age)


class IdempotencyKey(models.Model):
    """One POST that was sent with an ``Idempotency-Key``, and its first result once there is one."""

    CLAIM_LASTS: ClassVar[timedelta] = timedelta(minutes=5)
    """After this time without a result its process is taken for dead, and a repetition runs again. One that is known to
    be gone is not waited for."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(User, models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_line = models.CharField(max_length=500, help_text="Method and path.")
    body_digest = models.BinaryField(max_length=32, help_text="SHA-256 of the parsed body.")
    claimed_at = models.DateTimeField(default=timezone.now)
    claimed_by = models.CharField(max_length=200, blank=True, default="", db_default="", help_text="ragsite.lifeline")
    created_at = models.DateTimeField(default=timezone.now)
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status of the result; none while it runs.")
    body = models.JSONField(null=True)

    objects = IdempotencyKeyQuerySet.as_manager()

    class Meta:
        db_table = "accounts_idempotencykey"
        constraints = [
            models.UniqueConstraint(fields=["owner", "key"], name="accounts_idempotencykey_owner_key_uniq"),
            models.CheckConstraint(
                condition=Q(status=None) | Q(status__range=(200, 299)), name="accounts_idempotencykey_success_check"
            ),
        ]
        indexes = [
            # remove_expired: created_at < x.
            models.Index(fields=["created_at"], name="accounts_idempotencykey_at_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.request_line} {self.key}"

    @property
    def finished(self) -> bool:
        return self.status is not None

    @property
    def abandoned(self) -> bool:
        """Neither finished nor likely to be."""
        return not self.finished and self.claimed_at < timezone.now() - self.CLAIM_LASTS
