"""Model fields that the apps share."""

import uuid
from typing import Any

from django.db import models
from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A UUID of version 7: sorted by time, so that indexes grow at their end, and not to be guessed.

    74 bits are random; ids of one millisecond rise by random steps of up to 2**32. Every read asks for the owner too.
    """
    return uuid7()


class HalfVectorField(models.Field):
    """pgvector's ``halfvec`` without a fixed number of dimensions: models of several sizes share the table."""

    def db_type(self, connection: Any) -> str:
        return "halfvec"
