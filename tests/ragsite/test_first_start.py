"""The first administrator, and static files that are collected when they have changed."""

from pathlib import Path

import pytest
from django.contrib.auth import authenticate

from ragsite import first_start
from ragsite.accounts.models import User
from ragsite.first_start import collect_static_files, ensure_first_administrator


@pytest.mark.django_db
def test_a_new_site_gets_an_administrator_with_a_password_of_its_own() -> None:
    made = ensure_first_administrator()
    assert made
    user = authenticate(username=made["username"], password=made["password"])
    assert isinstance(user, User)
    assert user.is_superuser
    assert user.is_staff


@pytest.mark.django_db
def test_the_password_is_made_once() -> None:
    assert ensure_first_administrator()
    assert ensure_first_administrator() is None


def test_who_can_sign_in_already_is_left_alone(owner: User) -> None:
    assert ensure_first_administrator() is None
    assert not User.objects.filter(is_superuser=True).exists()


@pytest.mark.django_db
def test_an_admin_whom_a_command_has_made_without_password_is_taken_over() -> None:
    User.objects.create_user("admin")
    User.objects.create_user("somebody")
    assert ensure_first_administrator()
    assert User.objects.get(is_superuser=True).username == "admin"


def test_static_files_are_collected_again_only_when_one_has_changed(
    tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.css").write_text("a {}")
    settings.STATICFILES_DIRS = [source]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATIC_ROOT = tmp_path / "collected"
    collected: list[str] = []
    collect = first_start.call_command
    monkeypatch.setattr(
        first_start, "call_command", lambda *args, **options: collected.append(args[0]) or collect(*args, **options)
    )
    collect_static_files()
    collect_static_files()
    assert (settings.STATIC_ROOT / "a.css").read_text() == "a {}"
    (source / "a.css").write_text("a { color: red }")
    collect_static_files()
    assert collected == ["collectstatic"] * 2
    assert (settings.STATIC_ROOT / "a.css").read_text() == "a { color: red }"
