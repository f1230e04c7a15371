"""Alert rules for Prometheus, made of the targets: `python -m ragsite.service_level.alerts` prints the file."""

import sys
from typing import Any

import yaml

from ragsite.service_level.targets import OLDEST_SECONDS, PERCENT, TARGETS, Indicator, Statistic, Target

METRICS = {
    Indicator.ANSWER: "ragsite_answer_seconds",
    Indicator.DOCUMENT: "ragsite_document_seconds",
    Indicator.ADDED: "ragsite_answer_added_seconds",
}
ERRORS = {
    Indicator.ANSWER: ('ragsite_answers_total{outcome="failed"}', 'ragsite_answers_total{outcome!="stopped"}'),
    Indicator.DOCUMENT: ('ragsite_documents_total{outcome="failed"}', 'ragsite_documents_total{outcome!="refused"}'),
    Indicator.REQUEST: (
        'ragsite_requests_total{status=~"5..",view!~"healthz|readyz|static"}',
        'ragsite_requests_total{view!~"healthz|readyz|static"}',
    ),
}
"""What failed, and of what."""
OVER, FOR = "10m", "5m"

HEADER = """# Made by `python -m ragsite.service_level.alerts` of the targets beside it: change them there.
"""


def rules() -> dict[str, Any]:
    """As Prometheus reads them."""
    level = [_rule_of(target) for target in TARGETS if target.statistic is not Statistic.HELD]
    return {"groups": [{"name": "ragsite-level", "rules": level}, {"name": "ragsite-parts", "rules": parts()}]}


def _rule_of(target: Target) -> dict[str, Any]:
    name = "Ragsite" + "".join(word.capitalize() for word in target.name.split("_"))
    severity = "info" if target.aim else "critical"
    unit = "%" if target.statistic is Statistic.ERRORS else " s"
    limit = target.limit * 100 if target.statistic is Statistic.ERRORS else target.limit
    summary = f"{target.title}: not below {limit:g}{unit} for {FOR}"
    return _rule(name, f"{expression(target)} >= {target.limit:g}", severity, summary)


def expression(target: Target) -> str:
    """The target's value in PromQL."""
    if target.statistic is Statistic.ERRORS:
        failed, of = ERRORS[target.indicator]
        return f"sum(rate({failed}[{OVER}])) / sum(rate({of}[{OVER}]))"
    metric = METRICS[target.indicator]
    if target.statistic is Statistic.AVERAGE:
        return f"sum(rate({metric}_sum[{OVER}])) / sum(rate({metric}_count[{OVER}]))"
    share = PERCENT[target.statistic] / 100
    return f"histogram_quantile({share:g}, sum by (le) (rate({metric}_bucket[{OVER}])))"


def parts() -> list[dict[str, Any]]:
    """What makes the level be missed soon."""
    return [
        _rule("RagsiteDown", 'up{job="ragsite"} == 0', "critical", "The site does not answer", "1m"),
        _rule("RagsiteNoWorker", "ragsite_workers_alive == 0", "critical",
              "No worker of the queue {{ $labels.queue }}", "2m"),
        _rule("RagsiteQueueOld", f"ragsite_queue_oldest_seconds > {OLDEST_SECONDS:g}", "warning",
              "The oldest document waits for {{ $value }} s"),
        _rule("RagsiteModelFails",
              f'sum by (model) (rate(ragsite_model_calls_total{{outcome!~"ok|stopped"}}[{OVER}])) / '
              f"sum by (model) (rate(ragsite_model_calls_total[{OVER}])) > 0.05",
              "warning", "One of 20 calls of {{ $labels.model }} fails"),
        _rule("RagsiteDatabaseFull",
              'sum(ragsite_database_connections{state!="limit"}) / '
              'sum(ragsite_database_connections{state="limit"}) > 0.9',
              "warning", "Nine of ten connections to the database are taken"),
        _rule("RagsiteDiskFull",
              'ragsite_disk_bytes{kind="free"} / ignoring(kind) ragsite_disk_bytes{kind="total"} < 0.1',
              "warning", "The disk has less than a tenth free"),
        _rule("RagsiteMetricsMissing", "ragsite_scrape_failed == 1", "warning",
              "No metrics of {{ $labels.part }}: it is away or hangs", "2m"),
    ]  # fmt: skip


def _rule(name: str, expr: str, severity: str, summary: str, lasting: str = FOR) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expr,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "page": "/admin/service-level/"},
    }


def text() -> str:
    return HEADER + yaml.safe_dump(rules(), sort_keys=False, width=150, allow_unicode=True)


if __name__ == "__main__":
    sys.stdout.write(text())
