"""Requests are counted per user, in Redis."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache
from django_redis import get_redis_connection
from redis.exceptions import ConnectionError as RedisDown
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory

from ragsite.api import throttling
from ragsite.api.throttling import MessageThrottle, parse_rate

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.ragsite.api_urls")]
PATH = "/api/v1/test/throttled"


@pytest.fixture
def rates(monkeypatch):
    """Sets rates by scope."""
    known = dict(api_settings.DEFAULT_THROTTLE_RATES)

    def set_rates(**changed):
        monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", {**known, **changed})

    return set_rates


def test_too_many_requests_are_refused_with_the_time_to_wait(api, owner, stranger, rates):
    rates(messages="2/hour")
    client = api(owner)
    assert [client.post(PATH).status_code for _ in range(3)] == [200, 200, 429]
    response = client.post(PATH)
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "throttled"
    assert 1700 < int(response["Retry-After"]) <= 1800
    assert api(stranger).post(PATH).status_code == 200


def test_all_tokens_and_sessions_of_one_user_count_together(api, owner, signed_in, rates):
    rates(messages="1/hour")
    assert api(owner).post(PATH).status_code == 200
    assert api(owner).post(PATH).status_code == 429
    assert signed_in(owner).post(PATH).status_code == 429


def test_reading_does_not_count_as_asking(api, owner, rates):
    rates(messages="1/hour")
    client = api(owner)
    assert [client.get(PATH).status_code for _ in range(3)] == [200] * 3


def test_refused_requests_do_not_prolong_the_wait(api, owner, rates):
    rates(messages="1/hour")
    client = api(owner)
    client.post(PATH)
    waits = [int(client.post(PATH)["Retry-After"]) for _ in range(5)]
    assert max(waits) <= 3600


def test_after_the_wait_requests_are_allowed_again(api, owner, rates):
    rates(messages="1/s")
    client = api(owner)
    client.post(PATH)
    key = cache.make_key(f"throttle:messages:{owner.pk}")
    redis = get_redis_connection("default")
    due = float(redis.get(key))
    redis.set(key, due - 1000)
    assert client.post(PATH).status_code == 200


def test_the_count_goes_away_by_itself(api, owner, rates):
    rates(messages="1/s")
    api(owner).post(PATH)
    assert 0 < get_redis_connection("default").pttl(cache.make_key(f"throttle:messages:{owner.pk}")) <= 2000


def test_requests_at_once_are_all_counted(owner, rates):
    rates(messages="10/hour")

    def ask(_):
        request = APIRequestFactory().post(PATH)
        request.user = owner
        return MessageThrottle().allow_request(request, None)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(40))) == 10


def test_the_anonymous_are_counted_by_address_and_cannot_choose_it(client, rates):
    rates(anonymous="1/hour")
    answers = [client.get("/api/docs/", headers={"x-forwarded-for": f"1.1.1.{n}"}).status_code for n in range(3)]
    assert answers == [200, 429, 429]


def test_an_address_from_a_trusted_proxy_is_believed(rates, monkeypatch):
    monkeypatch.setattr(api_settings, "NUM_PROXIES", 1)
    request = APIRequestFactory().get(PATH, headers={"x-forwarded-for": "6.6.6.6, 1.2.3.4"})
    assert throttling.AnonymousThrottle().get_ident(request) == "1.2.3.4"


def test_off_switches_all_throttles_off(api, owner, rates, settings):
    rates(messages="1/hour", user="1/hour")
    settings.THROTTLE = False
    client = api(owner)
    assert [client.post(PATH).status_code for _ in range(3)] == [200] * 3


def test_without_redis_requests_are_allowed_and_it_is_logged(api, owner, rates, monkeypatch, caplog):
    rates(messages="1/hour")

    def down(alias):
        raise RedisDown("secret-host:6379")

    monkeypatch.setattr(throttling, "get_redis_connection", down)
    client = api(owner)
    with caplog.at_level(logging.WARNING):
        assert [client.post(PATH).status_code for _ in range(3)] == [200] * 3
    assert "the cache is down" in caplog.text
    assert "secret-host" not in caplog.text


@pytest.mark.parametrize("rate", ["", "60", "x/min", "60/", "0/min", "-1/min", "60/year"])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError):
        parse_rate(rate)
