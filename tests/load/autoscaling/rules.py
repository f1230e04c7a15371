"""Kubernetes' horizontal autoscaler (autoscaling/v2, also under KEDA) as arithmetic, with the numbers of our manifests.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import yaml

MANIFEST = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes" / "base" / "scaling.yaml"
TOLERANCE = 0.1
SYNC_SECONDS = 15.0


def by_ratio(current: int, ready: int, value: float, target: float) -> int:
    """What a metric of type Value or Utilization asks for: as many times the ready ones as it is above its target."""
    ratio = value / target
    return current if abs(ratio - 1) <= TOLERANCE else ceil(ready * ratio)


def by_share(current: int, value: float, target: float) -> int:
    """What one of type AverageValue asks for: the site's value divided into equal parts."""
    return current if current and abs(value / (target * current) - 1) <= TOLERANCE else ceil(value / target)


@dataclass(frozen=True)
class Policies:
    """How fast a number may change in one direction: the most that any of these allows."""

    percent: tuple[tuple[float, float], ...]
    """Percent of the replicas, within so many seconds."""
    pods: tuple[tuple[int, float], ...]
    """Replicas, within so many seconds."""
    window: float = 0.0
    """Seconds for which the highest (when it falls) of all recommendations counts."""

    @classmethod
    def read(cls, rules: Mapping[str, Any]) -> "Policies":
        of = {kind: [p for p in rules["policies"] if p["type"] == kind] for kind in ("Percent", "Pods")}
        percent, pods = (tuple((p["value"], p["periodSeconds"]) for p in of[kind]) for kind in ("Percent", "Pods"))
        return cls(percent, pods, rules["stabilizationWindowSeconds"])


@dataclass(frozen=True)
class Rules:
    """What a manifest says of one Deployment."""

    least: int
    most: int
    up: Policies
    down: Policies
    targets: Mapping[str, float]
    """By metric: of utilization as a share of 1."""


def read_rules(name: str, path: Path = MANIFEST) -> Rules:
    """Of the HorizontalPodAutoscaler or ScaledObject with this name."""
    found = next(one for one in yaml.safe_load_all(path.read_text()) if one["metadata"]["name"] == name)
    spec = found["spec"]
    if found["kind"] == "HorizontalPodAutoscaler":
        least, most, behavior = spec["minReplicas"], spec["maxReplicas"], spec["behavior"]
        targets = dict(map(_target, spec["metrics"]))
    else:
        least, most = spec["minReplicaCount"], spec["maxReplicaCount"]
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        age, cpu = (trigger["metadata"] for trigger in spec["triggers"])
        targets = {"age": float(age["threshold"]), "cpu": float(cpu["value"]) / 100}
    return Rules(least, most, Policies.read(behavior["scaleUp"]), Policies.read(behavior["scaleDown"]), targets)


def _target(metric: Mapping[str, Any]) -> tuple[str, float]:
    if metric["type"] == "External":
        target = metric["external"]["target"]
        return metric["external"]["metric"]["name"], float(target.get("averageValue") or target["value"])
    return "cpu", metric["containerResource"]["target"]["averageUtilization"] / 100


@dataclass
class Scaler:
    """Decides every ``SYNC_SECONDS`` how many replicas there shall be."""

    rules: Rules
    replicas: int
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)
    """When, and by how many."""

    def __post_init__(self) -> None:
        self._wanted.append((0.0, self.replicas))

    def decide(self, now: float, wanted: Iterable[int]) -> int:
        """The largest of what the metrics ask for, within bounds, window and policies."""
        asked = min(self.rules.most, max(self.rules.least, *wanted))
        self._wanted.append((now, asked))
        while self._wanted[0][0] < now - self.rules.down.window:
            self._wanted.popleft()
        stable = asked if asked >= self.replicas else min(self.replicas, max(number for _, number in self._wanted))
        changed = min(stable, self._most(now)) if stable > self.replicas else max(stable, self._fewest(now))
        if changed != self.replicas:
            self._changes.append((now, changed - self.replicas))
        self.replicas = changed
        return changed

    def _most(self, now: float) -> int:
        up = self.rules.up
        allowed = [ceil(self._before(now, period, 1) * (1 + value / 100)) for value, period in up.percent]
        return max(*allowed, *(self._before(now, period, 1) + value for value, period in up.pods))

    def _fewest(self, now: float) -> int:
        down = self.rules.down
        allowed = [int(self._before(now, period, -1) * (1 - value / 100)) for value, period in down.percent]
        return min(*allowed, *(self._before(now, period, -1) - value for value, period in down.pods))

    def _before(self, now: float, period: float, sign: int) -> int:
        """How many there were before the changes of this period in this direction."""
        return self.replicas - sum(n for when, n in self._changes if when > now - period and n * sign > 0)
