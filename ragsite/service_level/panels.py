"""What apps add to the service level's page: a template and what it shows."""

import logging
from collections.abc import Callable
from typing import Any

from django.db import Error
from django.http import HttpRequest
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

Look = Callable[[HttpRequest], dict[str, Any]]

_panels: list[tuple[str, Look]] = []


def add(template: str, look: Look) -> None:
    """``look`` gives the template's context. In an app's ``ready``."""
    _panels.append((template, look))


def panels(request: HttpRequest) -> list[tuple[str, dict[str, Any]]]:
    """Templates and contexts; a panel whose server is away is left out rather than the whole page."""
    return [(template, context) for template, look in _panels if (context := _looked(template, look, request))]


def _looked(template: str, look: Look, request: HttpRequest) -> dict[str, Any] | None:
    try:
        return look(request)
    except (Error, RedisError) as error:
        logger.warning("%s cannot be shown: %s", template, type(error).__name__)
        return None
