"""An empty place to restore into: a database, a folder for files and secrets, a number in Valkey."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.db import connection
from django.test import override_settings
from psycopg2.extensions import cursor as Cursor

from ragsite.layout import Layout
from tests.databases import drop_database


@contextmanager
def _database(name: str) -> Iterator[None]:
    """Django's connection leads to an empty database of this name while the block lasts."""
    with _maintenance() as cursor:
        drop_database(cursor, name)
        cursor.execute(f'CREATE DATABASE "{name}"')
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
        with _maintenance() as cursor:
            drop_database(cursor, name)


@contextmanager
def _maintenance() -> Iterator[Cursor]:
    server = psycopg2.connect(**{**connection.get_connection_params(), "dbname": "postgres"})
    server.autocommit = True
    try:
        with server.cursor() as cursor:
            yield cursor
    finally:
        server.close()


@pytest.fixture
def files(tmp_path: Path, settings: Any) -> Path:
    """A storage that holds the files of this test alone."""
    folder = tmp_path / "files"
    settings.STORAGES = {**settings.STORAGES, "default": _local(folder)}
    return folder


def _local(folder: Path) -> dict[str, Any]:
    return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": folder}}


@pytest.fixture
def empty_place(tmp_path: Path, settings: Any) -> Callable[[], Any]:
    """``with empty_place() as folder:`` everything is done there."""

    @contextmanager
    def enter() -> Iterator[Path]:
        layout = Layout(tmp_path / "place")
        layout.create()
        name = connection.settings_dict["NAME"] + "_restored"
        stores = {**settings.STORAGES, "default": _local(layout.files_dir)}
        with _database(name), override_settings(STORAGES=stores, LAYOUT=layout):
            yield layout.data_dir
        shutil.rmtree(layout.data_dir)

    return enter
