"""The deployment files, read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
IMAGE = "ragsite"


def read(path: Path) -> Any:
    return documents(path)[0]


@cache
def documents(path: Path) -> list[Any]:
    """What a YAML file holds, by libyaml where it is there: ten times as fast."""
    return list(yaml.load_all(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@dataclass(frozen=True)
class Container:
    """One container of our image, as compose or Kubernetes would start it."""

    where: str
    words: list[str]
    """The whole command, the image's entrypoint included."""
    variables: set[str]


def objects() -> list[dict[str, Any]]:
    """All Kubernetes objects of the base."""
    names = read(KUBERNETES / "base" / "kustomization.yaml")["resources"]
    return [found for name in names for found in documents(KUBERNETES / "base" / name)]


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    for found in objects():
        if found["kind"] in {"Deployment", "Job"}:
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


def containers_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def all_containers(compose: dict[str, Any]) -> list[Container]:
    """Every container of our image in compose and Kubernetes."""
    return [*_of_compose(compose), *_of_kubernetes()]


def _of_compose(compose: dict[str, Any]) -> Iterator[Container]:
    for name, service in compose["services"].items():
        if service["image"].startswith(f"{IMAGE}:"):
            words = [*service.get("entrypoint", ["python", "manage.py"]), *service["command"]]
            yield Container(f"compose {name}", list(map(str, words)), set(service.get("environment", {})))


def _of_kubernetes() -> Iterator[Container]:
    for name, pod in pod_specs():
        for container in containers_of(pod):
            words = [*container.get("command", ["python", "manage.py"]), *container.get("args", [])]
            variables = {variable["name"] for variable in container.get("env", [])}
            yield Container(f"{name}/{container['name']}", words, variables)
