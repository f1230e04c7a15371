"""Finding slow queries with django-silk, when it is switched on."""

from django.http import HttpRequest


def is_recorded(request: HttpRequest) -> bool:
    """silk's question; asked when the models are there, which they are not while settings are read."""
    from ragsite.profiling.recording import chosen

    return chosen(request)
