"""Where the processes of a site count."""

import os

import pytest

from ragsite.layout import Layout
from ragsite.supervisor import counting
from ragsite.supervisor.counting import VARIABLE, forget_counts, make_room_for_counts


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "before")
    made = Layout(tmp_path / "data")
    made.create()
    return made


@pytest.fixture
def memory(tmp_path, monkeypatch):
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(counting, "MEMORY", folder)
    return folder


def test_each_start_begins_at_zero_in_a_folder_of_its_own(layout, memory):
    folder = make_room_for_counts(layout)
    (folder / "counter_1.db").write_bytes(b"old")
    assert make_room_for_counts(layout) == folder
    assert list(folder.iterdir()) == []
    assert folder.parent == memory
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ[VARIABLE] == str(folder)


def test_two_sites_do_not_share_one(layout, memory, tmp_path):
    other = Layout(tmp_path / "other")
    other.create()
    assert make_room_for_counts(layout) != make_room_for_counts(other)


def test_at_the_end_nothing_is_left(layout, memory):
    forget_counts(make_room_for_counts(layout))
    assert list(memory.iterdir()) == []


def test_without_such_memory_it_is_in_the_data_folder(layout, monkeypatch, tmp_path):
    monkeypatch.setattr(counting, "MEMORY", tmp_path / "missing")
    assert make_room_for_counts(layout) == layout.run_dir / "metrics"


def test_without_any_folder_each_process_counts_for_itself(layout, memory, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    assert make_room_for_counts(layout) is None
    assert VARIABLE not in os.environ
    forget_counts(None)
