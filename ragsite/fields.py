"""Model fields that the apps share."""

import uuid
from typing import Any

from django.db import models
from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A UUID of version 7: sorted by time, so that indexes grow at their end; 74 random bits, so not to be guessed."""
    return uuid7()


class HalfVectorField(models.Field):
    """pgvector's ``halfvec`` without a fixed number of dimensions: models of several sizes share the table."""

    def db_type(self, connection: Any) -> str:
        return "halfvec"
