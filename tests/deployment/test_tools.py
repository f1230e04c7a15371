"""The programs that read the deployment files in earnest, where they are installed (requirements-deployment.txt)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deployment.files import KUBERNETES, ROOT, containers_of

SECRETS = ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "EMBEDDING_API_KEY", "RAGSITE_SECRET_KEY", "RAGSITE_METRICS_TOKEN")
pytestmark = pytest.mark.slow


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{program} is not installed: pip install -r requirements-deployment.txt")
    return subprocess.run(
        [found, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = run("hadolint", "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_itself_reads_the_file_and_asks_for_missing_secrets():
    secrets = dict.fromkeys([*SECRETS, "GRAFANA_PASSWORD"], "known")
    done = run("docker-compose", "--file", "compose.yaml", "config", "--quiet", **secrets)
    assert done.returncode == 0, done.stderr
    done = run("docker-compose", "--file", "compose.yaml", "config", "--quiet", **{**secrets, SECRETS[0]: ""})
    assert SECRETS[0] in done.stderr


def test_kubectl_builds_the_base_and_labels_every_pod():
    done = run("kubectl", "kustomize", str(KUBERNETES / "base"))
    assert done.returncode == 0, done.stderr
    pods = [
        found["spec"]["template"] for found in yaml.safe_load_all(done.stdout) if found["kind"] in {"Deployment", "Job"}
    ]
    assert len(pods) == 7
    for pod in pods:
        assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "ragsite"
        assert {container["image"] for container in containers_of(pod["spec"])} == {"registry.example/ragsite:1"}
