"""Documents in plain words."""

from django import template

from documents import labels

register = template.Library()
register.filter("kind", labels.kind)
register.filter("duration", labels.duration)


@register.filter
def state(status: str) -> str:
    return labels.STATES[status]


@register.filter
def stage(name: str) -> str:
    return labels.STAGES.get(name, name)
