"""The test server tells the plans of statements in functions and triggers to those tests that ask for them."""

from typing import Any

import psycopg2
import pytest
from django.db import connections

from ragsite.layout import Layout

PARAMETERS = ("log_min_duration", "log_analyze", "log_timing", "log_nested_statements", "log_format", "log_level")


@pytest.fixture(scope="session", autouse=True)
def _plans_told(layout: Layout, django_db_setup: None, django_db_blocker: Any) -> None:
    """Only a superuser may load auto_explain; the site's role is none."""
    server = psycopg2.connect(
        host=str(layout.postgres_socket_dir), user="postgres", dbname="postgres",
        password=layout.secret("postgres_superuser_password"),
    )  # fmt: skip
    with server, server.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7302116)")  # of the processes of pytest-xdist
        cursor.execute("ALTER ROLE ragsite SET session_preload_libraries = 'auto_explain'")
        for name in PARAMETERS:
            cursor.execute(f"GRANT SET ON PARAMETER auto_explain.{name} TO ragsite")
    server.close()
    with django_db_blocker.unblock():
        connections.close_all()  # those that come have it
