"""Documents in plain words."""

from django import template

from documents import labels

register = template.Library()
register.filter("kind", labels.kind)
register.filter("stages", labels.stages)


@register.filter
def state(status: str) -> str:
    return labels.STATES[status]
