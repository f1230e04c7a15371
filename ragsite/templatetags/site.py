"""``{% icon "trash" %}``, a picture from the site's own sprite, and ``|ago``."""

from datetime import datetime, timedelta

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """Decoration: what it means is said in words beside it, or in the label of its button."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>', static("img/icons.svg"), name
    )


@register.filter
def ago(moment: datetime) -> str:
    """``just now``, ``5 minutes ago``, after a week the date."""
    age = timezone.now() - moment
    if age < timedelta(minutes=1):
        return "just now"
    return f"{timesince(moment, depth=1)} ago" if age < timedelta(days=7) else f"{moment:%-d %b %Y}"
