"""What the site tells of its caches at /metrics, in Prometheus' format."""

from collections import defaultdict
from collections.abc import Iterator

import httpx

HITS = ("hit", "hits")
Counted = dict[str, dict[str, float]]


def cache_counters(url: str, token: str) -> Counted | None:
    """Hits and misses by keyspace since the site was started; None when the site does not offer them."""
    try:
        answer = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False)
    except httpx.TransportError:
        return None
    if answer.status_code != 200 or not answer.headers.get("Content-Type", "").startswith("text/plain"):
        return None
    return counters_in(answer.text) or None


def counters_in(text: str) -> Counted:
    """Of counters with ``cache`` in their names and a label for the keyspace and one for the result."""
    from prometheus_client.parser import text_string_to_metric_families

    found: Counted = defaultdict(lambda: {"hits": 0.0, "misses": 0.0})
    for family in text_string_to_metric_families(text):
        if family.type == "counter" and "cache" in family.name:
            for keyspace, result, value in _labelled(family.samples):
                found[keyspace]["hits" if result in HITS else "misses"] += value
    return dict(found)


def _labelled(samples: list) -> Iterator[tuple[str, str, float]]:
    for sample in samples:
        labels = sample.labels
        result = labels.get("result") or labels.get("outcome")
        if sample.name.endswith("_total") and "keyspace" in labels and result in (*HITS, "miss", "misses"):
            yield labels["keyspace"], result, sample.value


def counted_between(before: Counted | None, after: Counted | None) -> Counted | None:
    if after is None:
        return None
    nothing = {"hits": 0.0, "misses": 0.0}
    return {
        keyspace: {name: counts[name] - (before or {}).get(keyspace, nothing)[name] for name in counts}
        for keyspace, counts in after.items()
    }
