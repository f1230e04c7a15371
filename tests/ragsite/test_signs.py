"""Signs of life of processes on other machines."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from ragsite import lifeline, signs

LONG_AGO = timezone.now() - timedelta(minutes=1)
THEIRS = "another machine:1"


@pytest.fixture
def redis() -> Iterator[signs.Redis]:
    with signs._redis() as client:
        yield client
        client.delete(signs._key(THEIRS))


@pytest.fixture(autouse=True)
def _server_that_is_young_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "LASTS_SECONDS", -1)
    monkeypatch.setattr(signs, "_missed", {})


def looked_a_moment_ago() -> None:
    signs._missed[THEIRS] -= signs.SECOND_LOOK_SECONDS


def test_who_gives_signs_lives_and_who_has_stopped_is_gone(redis: signs.Redis) -> None:
    redis.set(signs._key(THEIRS), b"1", ex=60)
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO)
    redis.delete(signs._key(THEIRS))
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO)
    looked_a_moment_ago()
    assert signs.has_fallen_silent(THEIRS, LONG_AGO)


def test_who_was_missed_only_while_the_server_had_lost_all_signs_lives(redis: signs.Redis) -> None:
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO)
    looked_a_moment_ago()
    redis.set(signs._key(THEIRS), b"1", ex=60)
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO)
    redis.delete(signs._key(THEIRS))
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO), "looks begin anew"


def test_a_look_of_long_ago_is_none(redis: signs.Redis) -> None:
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO)
    signs._missed[THEIRS] -= signs.LOOKS_COUNT_SECONDS + 1
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO)


def test_what_was_claimed_a_moment_ago_is_not_judged(redis: signs.Redis) -> None:
    assert not signs.has_fallen_silent(THEIRS, timezone.now())
    assert not signs.has_fallen_silent("", LONG_AGO)


def test_a_server_that_has_just_begun_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "LASTS_SECONDS", 10**9)
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO)


def test_without_the_server_everybody_lives(settings: object) -> None:
    settings.STREAMS_URL = "redis://127.0.0.1:9/0"  # type: ignore[attr-defined]
    assert not signs.has_fallen_silent(THEIRS, LONG_AGO)


def test_a_process_gives_its_first_sign_when_it_claims_something(
    redis: signs.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Over(Exception):
        pass

    def enough(seconds: float) -> None:
        raise Over

    monkeypatch.setattr(signs, "LASTS_SECONDS", 60)
    monkeypatch.setattr("ragsite.signs.time.sleep", enough)
    with pytest.raises(Over):
        signs._give_for_ever()
    assert 0 < redis.ttl(signs._key(lifeline.mine())) <= 60
