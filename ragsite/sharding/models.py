"""Models whose rows are distributed by their owner: what Django reads and writes of one row names the owner as well.

On one PostgreSQL this changes nothing but a condition more; on Citus it is the difference between one shard and all.
"""

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models.lookups import Exact


class OwnedModel(models.Model):
    """``save()`` and ``refresh_from_db()`` go to the owner's shard, and a row never changes its owner."""

    class Meta:
        abstract = True

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Any, *rest: Any) -> Any:
        # As django-multitenant does; there is no public place for it.
        mine = base_qs.filter(owner_id=self._owner_id)
        kept = [entry for entry in values if entry[0].name != "owner"]
        return super()._do_update(mine, using, pk_val, kept, *rest)

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        rows: Any = type(self)._base_manager.all() if from_queryset is None else from_queryset
        super().refresh_from_db(using, fields, rows.filter(owner_id=self._owner_id))

    @property
    def _owner_id(self) -> Any:
        return getattr(self, "owner_id")  # noqa: B009  (the field is that of the models below)


class _JoinsOwners:
    """Joins compare the owners too; accessed through a row, the related one is looked for with the owner."""

    model: Any
    related_model: Any

    def get_extra_restriction(self, alias: str, related_alias: str) -> Any:
        theirs, mine = self.related_model._meta.get_field("owner"), self.model._meta.get_field("owner")
        return Exact(theirs.get_col(alias), mine.get_col(related_alias))

    def get_extra_descriptor_filter(self, instance: Any) -> dict[str, Any]:
        return {"owner_id": instance.owner_id}

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """As Django's own: to a migration they are the same."""
        name, _, args, kwargs = super().deconstruct()  # type: ignore[misc]
        return name, f"django.db.models.{type(self).__bases__[1].__name__}", args, kwargs


class OwnedForeignKey(_JoinsOwners, models.ForeignKey):
    """A key between rows of one owner."""


class OwnedOneToOneField(_JoinsOwners, models.OneToOneField):
    """The same, to one row at most."""
