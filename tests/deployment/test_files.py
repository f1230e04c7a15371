"""Dockerfile, compose.yaml and deploy/: valid by their schemas, and true of this site: variables, commands, metrics."""

import json
import re
import sys
from importlib import resources
from typing import Any

import jsonschema
import kubernetes_validate
import promql_parser
import pytest
from django.core.management import get_commands

from processing.sandbox.__main__ import _parse_arguments as parse_sandbox
from ragsite import checks
from ragsite.encoder.__main__ import _parser as encoder_parser
from ragsite.health import HealthMiddleware
from ragsite.metrics.exposition import exposed
from ragsite.routes import DOCUMENT_QUEUES, named
from ragsite.supervisor import ROLES
from tests.deployment.files import KUBERNETES, ROOT, containers_of, documents, objects, pod_specs, read

STANDARD = {"PATH", "PYTHONDONTWRITEBYTECODE", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_CACHE_DIR"}
KUBERNETES_VERSION = "1.37"


def keda_trigger(kind: str, types: list[str], required: list[str], *optional: str) -> dict[str, Any]:
    metadata = {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": {name: {"type": "string"} for name in (*required, *optional)},
    }
    return {
        "type": "object",
        "required": ["type", "metadata"],
        "additionalProperties": False,
        "properties": {"type": {"const": kind}, "metricType": {"enum": types}, "metadata": metadata},
    }


KEDA_TRIGGER = {
    "oneOf": [
        keda_trigger("cpu", ["Utilization", "AverageValue"], ["value"], "containerName"),
        keda_trigger("prometheus", ["Value", "AverageValue"], ["serverAddress", "query", "threshold"],
                     "activationThreshold"),
    ]
}  # fmt: skip
"""KEDA's CRD is in no package: the fields that we use, as its documentation (2.22) has them. Numbers are strings."""
KEDA_SPEC = {
    "type": "object",
    "required": ["scaleTargetRef", "triggers"],
    "additionalProperties": False,
    "properties": {
        "scaleTargetRef": {"type": "object", "required": ["name"]},
        **{name: {"type": "integer"} for name in ("pollingInterval", "cooldownPeriod", "minReplicaCount")},
        "maxReplicaCount": {"type": "integer"},
        "advanced": {"type": "object", "additionalProperties": False,
                     "properties": {"horizontalPodAutoscalerConfig": {"type": "object"}}},
        "triggers": {"type": "array", "minItems": 1, "items": KEDA_TRIGGER},
    },
}  # fmt: skip


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [found for found in objects() if found["kind"] in kinds]


def names_of(*kinds: str) -> set[str]:
    return {found["metadata"]["name"] for found in of_kind(*kinds)}


def test_compose_is_as_its_schema_wants_it(compose):
    schema = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(compose, json.loads(schema.read_text()))


@pytest.mark.parametrize("found", objects(), ids=lambda found: f"{found['kind']}-{found['metadata']['name']}")
def test_every_kubernetes_object_is_as_its_schema_wants_it(found):
    if found["kind"] == "ScaledObject":
        assert set(found) == {"apiVersion", "kind", "metadata", "spec"}
        jsonschema.validate(found["spec"], KEDA_SPEC)
        behavior = found["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        found = {**next(iter(of_kind("HorizontalPodAutoscaler")))}  # whose behaviour KEDA takes over
        found["spec"] = {**found["spec"], "behavior": behavior}
    kubernetes_validate.validate(found, KUBERNETES_VERSION, strict=True)


def test_every_file_of_the_base_is_in_its_kustomization():
    base = KUBERNETES / "base"
    assert set(read(base / "kustomization.yaml")["resources"]) == {p.name for p in base.iterdir()} - {
        "kustomization.yaml"
    }


def test_every_variable_is_one_that_the_site_reads(containers):
    sources = [path.read_text() for path in (ROOT / "ragsite").rglob("*.py")]
    known = {
        name
        for text in sources
        for name in re.findall(r'(?:environ(?:\.get)?[(\[]|\benv(?:\.\w+)?\()\s*"([A-Z_]+)"', text)
    }
    dockerfile = (ROOT / "Dockerfile").read_text()
    in_image = re.findall(r"\b([A-Z][A-Z_]+)=", "".join(re.findall(r"^ENV (?:.*\\\n)*.*", dockerfile, re.MULTILINE)))
    secret = re.findall(r"^([A-Z_]+)=", (KUBERNETES / "secret.example.env").read_text(), re.MULTILINE)
    config = [name for found in of_kind("ConfigMap") for name in found["data"]]
    used = {*in_image, *secret, *config, *(name for container in containers for name in container.variables)}
    assert used - STANDARD - known - checks.KNOWN_VARIABLES == set()


def test_every_command_exists_and_takes_its_options(containers, monkeypatch):
    for container in containers:
        program, *options = container.words
        assert program == "python", container.where
        if options[0] == "manage.py":
            assert options[1] in get_commands(), container.where
            assert set(options[2:]) <= set(ROLES), container.where
        elif options[:2] == ["-m", "ragsite.encoder"]:
            encoder_parser().parse_args(options[2:])
        else:
            assert options[:2] == ["-m", "processing.sandbox"], container.where
            monkeypatch.setattr(sys, "argv", ["sandbox", *options[2:]])
            parse_sandbox()


def test_all_parts_of_the_site_run_in_both(containers, compose):
    def parts(found):
        return {word for container in found for word in container.words} & {*ROLES, "prepare"} | {
            container.words[2] for container in found if "-m" in container.words
        }

    everywhere = {"web", "worker", "upkeep", "prepare", "ragsite.encoder", "processing.sandbox"}
    assert everywhere <= parts([c for c in containers if c.where.startswith("compose")])
    assert everywhere <= parts([c for c in containers if not c.where.startswith("compose")])


def test_the_workers_serve_all_queues_and_the_clock_runs_once(compose):
    in_compose = [s["environment"]["RAGSITE_QUEUES"] for s in compose["services"].values()
                  if "RAGSITE_QUEUES" in (s.get("environment") or {})]  # fmt: skip
    env = [variable for _, pod in pod_specs() for c in pod["containers"] for variable in c.get("env", [])]
    in_kubernetes = [variable["value"] for variable in env if variable["name"] == "RAGSITE_QUEUES"]
    for queues in (in_compose, in_kubernetes):
        assert {queue for some in queues for queue in named(some)} == set(DOCUMENT_QUEUES)
    upkeep = next(found for found in of_kind("Deployment") if found["metadata"]["name"] == "upkeep")
    assert (upkeep["spec"]["replicas"], upkeep["spec"]["strategy"]["type"]) == (1, "Recreate")


def test_probes_ask_what_answers():
    for name, pod in pod_specs():
        for container in containers_of(pod):
            ports = {port["name"] for port in container.get("ports", [])}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container.get(kind, {}).get("httpGet")
                if asked:
                    assert asked["path"].partition("?")[0] in HealthMiddleware.answers, (name, kind)
                    assert asked["port"] in ports, (name, kind)
    web = dict(pod_specs())["web"]["containers"][0]
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz?balancer", "a database away is away for all"
    assert web["livenessProbe"]["httpGet"]["path"] == "/healthz", "a database that is away must not restart web nodes"


def test_who_is_scaled_guarded_or_spoken_to_is_there():
    deployments = names_of("Deployment")
    for found in of_kind("ScaledObject", "HorizontalPodAutoscaler"):
        assert found["spec"]["scaleTargetRef"]["name"] in deployments
    scaled = {f["spec"]["scaleTargetRef"]["name"] for f in of_kind("ScaledObject", "HorizontalPodAutoscaler")}
    assert scaled == {d["metadata"]["name"] for d in of_kind("Deployment") if "replicas" not in d["spec"]}
    for found in of_kind("PodDisruptionBudget"):
        assert found["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] in deployments
    for found in of_kind("Service"):
        assert found["spec"]["selector"]["app.kubernetes.io/name"] in deployments
    services = names_of("Service")
    urls = re.findall(r"http://([a-z]+):\d+", (KUBERNETES / "base" / "web.yaml").read_text())
    assert set(urls) <= services


def test_a_web_node_is_given_the_time_it_takes_to_stop(compose):
    pod = dict(pod_specs())["web"]
    env = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    takes = float(env["RAGSITE_DRAIN_SECONDS"]) + float(env["RAGSITE_GRACE_SECONDS"]) + 5
    assert pod["terminationGracePeriodSeconds"] > takes
    probe = pod["containers"][0]["readinessProbe"]
    assert float(env["RAGSITE_DRAIN_SECONDS"]) > probe["periodSeconds"] * probe["failureThreshold"]
    web = compose["services"]["web"]
    takes = sum(float(web["environment"][f"RAGSITE_{name}_SECONDS"]) for name in ("DRAIN", "GRACE")) + 5
    assert int(web["stop_grace_period"].rstrip("s")) > takes


def test_no_container_is_root_or_may_become_it(compose):
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text()
    for name, pod in pod_specs():
        assert pod["securityContext"]["runAsNonRoot"], name
        for container in containers_of(pod):
            confined = container["securityContext"]
            assert confined["readOnlyRootFilesystem"], name
            assert not confined["allowPrivilegeEscalation"], name
            assert confined["capabilities"] == {"drop": ["ALL"]}, name
    for name, service in compose["services"].items():
        if service["image"].startswith("ragsite:"):
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name


def test_the_sandbox_knows_no_secret_and_in_compose_no_network(compose, containers):
    sandboxes = [container for container in containers if "processing.sandbox" in container.words]
    assert len(sandboxes) == 4
    assert not any(container.variables for container in sandboxes)
    assert compose["services"]["sandbox"]["network_mode"] == "none"
    for _, pod in pod_specs():
        for container in pod.get("initContainers", []):
            assert "envFrom" not in container
            assert [mount["name"] for mount in container["volumeMounts"]] == ["run"]


def test_secrets_are_referred_to_and_never_written_down(compose):
    assert names_of("Secret") == set()
    text = "\n".join(path.read_text() for path in (KUBERNETES / "base").iterdir()) + (ROOT / "compose.yaml").read_text()
    written = re.findall(r"^ *\w*(?:PASSWORD|SECRET_KEY|API_KEY|TOKEN): +\"?(\S+)", text, re.MULTILINE)
    assert len(written) > 5
    assert [value for value in written if not value.startswith("${")] == []


def test_images_are_pinned(compose):
    images = [s["image"] for s in compose["services"].values() if not s["image"].startswith("ragsite:")]
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for image in [*images, base[1] if base else ""]:
        assert re.search(r":v?\d+\.\d+", image), image


def test_what_the_image_copies_is_let_through():
    dockerfile, ignored = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text().splitlines()
    copied = [name for line in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile, re.MULTILINE) for name in line.split()]
    assert {f"!{name}" for name in copied} <= set(ignored)
    assert all((ROOT / name).exists() for name in copied)


def queries() -> dict[str, str]:
    """Every PromQL expression of deploy/, by where it stands."""
    found = {f"alert {rule['alert']}": rule["expr"] for group in read(ROOT / "deploy/prometheus/alerts.yml")["groups"]
             for rule in group["rules"]}  # fmt: skip
    for scaled in of_kind("ScaledObject"):
        for trigger in (one for one in scaled["spec"]["triggers"] if one["type"] == "prometheus"):
            found[f"KEDA {scaled['metadata']['name']}"] = trigger["metadata"]["query"]
    for rule in adapter_rules():
        found[f"adapter {rule['name']['as']}"] = rule["metricsQuery"]
    dashboard = json.loads((ROOT / "deploy/grafana/ragsite.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            found[f"panel {panel['title']}"] = target["expr"].replace("$__rate_interval", "5m")
    return found


def adapter_rules() -> list[dict[str, Any]]:
    return read(KUBERNETES / "prometheus-adapter.yaml")["rules"]["external"]


def test_every_expression_is_promql():
    for where, expression in queries().items():
        try:
            promql_parser.parse(expression)
        except ValueError as error:
            pytest.fail(f"{where}: {error}")


@pytest.mark.django_db(transaction=True)
def test_every_metric_that_scales_or_alerts_is_told_by_the_site():
    told = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)", exposed().decode(), re.MULTILINE):
        told |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    optional = {
        "ragsite_queue_remaining_seconds",  # not told before anything was measured
        "ragsite_replica_lag_seconds",  # where there are replicas
    }
    for where, expression in queries().items():
        assert set(re.findall(r"\bragsite_\w+", expression)) - told - optional == set(), where


def test_external_metrics_have_a_rule_of_the_adapter():
    used = {
        metric["external"]["metric"]["name"]
        for found in of_kind("HorizontalPodAutoscaler")
        for metric in found["spec"]["metrics"]
        if metric["type"] == "External"
    }
    assert used == {rule["name"]["as"] for rule in adapter_rules()}


def test_queues_that_scale_are_queues():
    for scaled in of_kind("ScaledObject"):
        query = scaled["spec"]["triggers"][0]["metadata"]["query"]
        assert set(re.findall(r'queue="([^"]*)"', query)) < set(DOCUMENT_QUEUES), query


def test_prometheus_asks_the_ports_where_metrics_are(compose):
    config = read(ROOT / "deploy/prometheus/compose.yml")
    for job in config["scrape_configs"]:
        asked = job["dns_sd_configs"][0]
        for name in asked["names"]:
            environment = compose["services"][name]["environment"]
            assert str(asked["port"]) == environment.get("RAGSITE_METRICS_PORT", "8000"), name


def test_every_yaml_of_deploy_can_be_read():
    for path in (ROOT / "deploy").rglob("*.y*ml"):
        assert all(documents(path)), path
