"""Metrics: right over several processes, bounded, protected, and the same in code, docs, alerts and dashboard."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from ragsite.metrics import gauges, queries, record
from ragsite.metrics.definitions import REGISTRY
from ragsite.metrics.exposition import exposed
from ragsite.service_level import alerts
from ragsite.service_level.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
COUNT = """
import sys
from ragsite.metrics import record
for _ in range(int(sys.argv[1])):
    record.answer_complete(0.4)
    record.request("home", "GET", 200, 0.01)
"""
READ = "import sys; from ragsite.metrics.exposition import counted; from prometheus_client import generate_latest; "
READ += "sys.stdout.buffer.write(generate_latest(counted()))"


def _python(folder, code, *arguments):
    start = "import django; django.setup()\n"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", start + code, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_several_processes_are_added_up_also_those_that_have_ended(tmp_path):
    counting = [_python(tmp_path, COUNT, str(count)) for count in (3, 4)]
    assert [process.wait() for process in counting] == [0, 0]
    text, _ = _python(tmp_path, READ).communicate()
    found = samples(text.decode())
    assert found["ragsite_answers_total", (("outcome", "complete"),)] == 7
    assert found["ragsite_answer_seconds_count", ()] == 7
    assert found["ragsite_answer_seconds_sum", ()] == pytest.approx(2.8)
    home = (("method", "GET"), ("status", "200"), ("view", "home"))
    assert found["ragsite_requests_total", home] == 7


def test_a_folder_that_was_tidied_away_costs_counts_and_nothing_else(tmp_path):
    tidied = "from ragsite.metrics import process; process.begin(); import shutil; shutil.rmtree(sys.argv[2])\n"
    counting = _python(tmp_path / "counts", COUNT.replace("for _", tidied + "for _"), "3", str(tmp_path / "counts"))
    assert counting.wait() == 0
    text, _ = _python(tmp_path / "counts", READ).communicate()
    assert "ragsite_answer_seconds_count 0.0" in text.decode()


# --- /metrics ---------------------------------------------------------------------------------------------------------
def test_this_machine_may_read_them(client, db):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    assert "ragsite_host_load1" in answer.content.decode()


@pytest.mark.parametrize(
    "where",
    [
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": ""},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_X_REAL_IP": "127.0.0.1"},
    ],
    ids=str,
)
def test_others_may_not_also_not_through_a_proxy_here(client, where):
    answer = client.get("/metrics", **where)
    assert answer.status_code == 403
    assert "RAGSITE_METRICS_TOKEN" in answer.content.decode()


def test_behind_a_proxy_being_local_says_nothing(client, settings):
    settings.RAGSITE_TRUSTED_PROXIES = 1
    assert client.get("/metrics").status_code == 403


def test_the_token_opens_them_from_anywhere_and_nothing_else_does(client, settings, db):
    settings.METRICS_TOKEN = "s3cret"
    away = {"REMOTE_ADDR": "192.0.2.1"}
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer s3cret", **away).status_code == 200
    for wrong in ("Bearer s3cre", "s3cret", "Bearer é", ""):
        assert client.get("/metrics", HTTP_AUTHORIZATION=wrong, **away).status_code == 403
    assert client.get("/metrics").status_code == 403


def test_a_part_that_is_away_costs_its_own_metrics_alone(db, settings):
    settings.CACHE_URL = "redis://127.0.0.1:1/0"
    found = samples(exposed().decode())
    assert found["ragsite_scrape_failed", (("part", "cache"),)] == 1
    assert found["ragsite_scrape_failed", (("part", "machine"),)] == 0
    assert ("ragsite_database_connections", (("state", "limit"),)) in found


def test_a_part_that_hangs_is_not_waited_for(db, monkeypatch):
    over = threading.Event()

    def hang():
        over.wait(30)
        return []

    monkeypatch.setattr(gauges, "DEADLINE_SECONDS", 0.5)
    monkeypatch.setitem(gauges._looks, "hanging", hang)
    try:
        found = samples(exposed().decode())
    finally:
        over.set()
    assert found["ragsite_scrape_failed", (("part", "hanging"),)] == 1
    assert ("ragsite_answer_seconds_count", ()) in found


# --- Requests ---------------------------------------------------------------------------------------------------------
def _requests(**labels):
    return REGISTRY.get_sample_value("ragsite_requests_total", labels) or 0


def test_requests_are_counted_by_view_whatever_is_asked_for(client, db):
    before = _requests(view="none", method="GET", status="404")
    for number in range(3):
        client.get(f"/no/such/page/{number}")
    assert _requests(view="none", method="GET", status="404") == before + 3
    before = _requests(view="none", method="other", status="404")
    client.generic("BREW", "/no/such/page")
    assert _requests(view="none", method="other", status="404") == before + 1


@pytest.mark.parametrize(("view", "errors"), [("readyz", 0), ("healthz", 0), ("static", 0), ("message-list", 1)])
def test_health_checks_are_no_part_of_the_level(monkeypatch, view, errors):
    failed = []
    monkeypatch.setattr("ragsite.metrics.record.recorder.failed", failed.append)
    record.request(view, "GET", 503, 0.01)
    assert len(failed) == errors


def test_an_answer_names_the_request(client):
    assert re.fullmatch("[0-9a-f]{16}", client.get("/healthz")["X-Request-ID"])
    assert client.get("/healthz", HTTP_X_REQUEST_ID="edge-4711-ab")["X-Request-ID"] == "edge-4711-ab"
    assert client.get("/healthz", HTTP_X_REQUEST_ID="<script>alert()</script>")["X-Request-ID"] != "<script>"


# --- Statements -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ('SELECT "documents_document"."id" FROM "documents_document" WHERE x = 1', "SELECT documents_document"),
        ("UPDATE documents_document SET a = 1", "UPDATE documents_document"),
        ("INSERT INTO service_level_rollup VALUES (1)", "INSERT service_level_rollup"),
        ("WITH a AS (SELECT 1 FROM secret_table) SELECT 1 FROM chat_message", "WITH chat_message"),
        ("SELECT 'FROM robert'); DROP TABLE students", "SELECT other"),
        ("", "other other"),
    ],
)
def test_the_name_of_a_statement_holds_nothing_of_anybodys(sql, name):
    assert queries.name_of(sql) == name


def test_slow_statements_are_counted_by_name(db, monkeypatch):
    monkeypatch.setattr("ragsite.metrics.record.SLOW_QUERY_SECONDS", 0.0)
    labels = {"statement": "SELECT documents_document"}
    before = REGISTRY.get_sample_value("ragsite_slow_queries_total", labels) or 0
    with connection.execute_wrapper(queries.timed), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM documents_document")
    assert REGISTRY.get_sample_value("ragsite_slow_queries_total", labels) == before + 1


def test_a_connection_is_watched_once(db):
    queries._watch(connection)
    queries._watch(connection)
    try:
        assert connection.execute_wrappers.count(queries.timed) == 1
    finally:
        connection.execute_wrappers.remove(queries.timed)


# --- The same everywhere ----------------------------------------------------------------------------------------------
@pytest.fixture
def known(db):
    """The names of all metrics, by what they are read by: of a histogram its parts."""
    counted = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    for metric in REGISTRY.collect():
        base = metric.name
        counted |= (
            {f"{base}_total"} if metric.type == "counter" else {f"{base}_{e}" for e in ("bucket", "sum", "count")}
        )
    looked = {sample.name for family in gauges.Gauges().collect() for sample in family.samples}
    now_and_then = {"ragsite_queue_remaining_seconds"}  # only when it is known
    with_replicas = {"ragsite_replica_lag_seconds", "ragsite_replica_lag_bytes"}
    return counted | looked | now_and_then | with_replicas


def names_in(text):
    return set(re.findall(r"\bragsite_[a-z_0-9]+\b", text))


def test_the_alerts_are_those_of_the_targets():
    written = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    assert written == alerts.text(), "python -m ragsite.service_level.alerts > deploy/prometheus/alerts.yml"


def test_each_alert_has_what_prometheus_wants_and_knows_its_metrics(known):
    rules = [rule for group in yaml.safe_load(alerts.text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert names_in(rule["expr"]) <= known, rule["alert"]
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_each_limit_in_an_alert_is_a_bucket_of_its_metric():
    buckets = {
        family.name: {float(sample.labels["le"]) for sample in family.samples if sample.name.endswith("_bucket")}
        for family in REGISTRY.collect()
        if family.type == "histogram"
    }
    for target in TARGETS:
        if target.is_time:
            assert target.limit in buckets[alerts.METRICS[target.indicator]], target.name


def test_the_example_of_a_scrape_is_valid():
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert scrape["rule_files"] == ["alerts.yml"]
    assert scrape["scrape_configs"][0]["job_name"] == "ragsite"


def test_the_dashboard_knows_its_metrics_and_shows_them_all(known):
    dashboard = json.loads((ROOT / "deploy/grafana/ragsite.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    used = names_in(" ".join(target["expr"] for panel in panels for target in panel["targets"]))
    assert used <= known
    families = {re.sub("_(bucket|sum|count|total)$", "", name) for name in used}
    assert {family.name for family in REGISTRY.collect()} - families == {"ragsite_model_seconds"}


def test_the_docs_list_the_metrics_that_there_are(known):
    listed = names_in((ROOT / "docs/monitoring.md").read_text().split("## The metrics")[1].split("\n## ")[0])
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in known if not name.endswith("_created")}
    assert listed == families
