"""The report for people, out of the figures of all steps."""

from collections.abc import Iterator, Sequence
from typing import Any

from tests.load.harness.level import lines as lines_of_level
from tests.load.harness.summary import of_several
from tests.load.harness.targets import KNEE, Verdict, knee, verdicts

Json = dict[str, Any]
PARTS = ("site", "web", "worker", "upkeep", "zygote", "encoder", "sandbox", "postgres", "valkey", "supervisor")
BESIDE = ("generator", "model", "harness")
ROW = "{:30} {:>7} {:>7} {:>6}  {:>7} {:>7} {:>7} {:>7}  {:>7} {:>7} {:>7} {:>7}"


def text_of(report: Json, found: Sequence[Verdict]) -> str:
    lines = [*_head(report)]
    for step in report["steps"]:
        lines += ["", *_step(step)]
    if report["probes"]:
        lines += ["", *_probes(report["probes"])]
    lines += ["", *_spread(report["steps"]), *_knee(report["steps"]), "Verdicts", *(f"  {v.line()}" for v in found)]
    return "\n".join(lines) + "\n"


def _head(report: Json) -> Iterator[str]:
    machine = report["machine"]
    yield f"Load: {report['profile']}, {report['about']}"
    yield f"  {report['started']}, {report['system']} at commit {report['commit']}, answers by {report['model']}"
    yield f"  {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; all on this machine"
    if report["settings"]:
        yield "  settings: " + ", ".join(f"{name}={value}" for name, value in report["settings"].items())
    if report["seeded"]:
        yield "  seeded with " + ", ".join(f"{size:,} {name}" for name, size in report["seeded"].items())


def title(step: Json) -> str:
    run = f", run {step['run']}" if step["run"] > 1 else ""
    return f"{step['system']}, {step['users']} users, answer cache {step['cache']}{run}"


def _step(step: Json) -> Iterator[str]:
    low, high = step["think"]
    yield f"{title(step)}: {step['seconds']:.0f} s, thinking {low:g}–{high:g} s"
    yield from _warnings(step)
    yield "  " + ROW.format(
        "seconds", "count", "/s", "errors", "1st avg", "p50", "p95", "p99", "avg", "p50", "p95", "p99"
    )
    for name, operation in step["operations"].items():
        yield "  " + _row(name, operation)
    for kind, count in step["errors"].items():
        yield f"  error: {count} × {kind}"
    yield from _answers(step)
    yield from _work(step)
    yield from _documents(step["documents"])
    yield from _caches(step["caches"])
    yield from lines_of_level(step["level"])
    yield from _generator(step)


def _warnings(step: Json) -> Iterator[str]:
    if step["generator"]["was_the_limit"]:
        yield "  !! The load generator itself was the limit: read these figures as its own."
    if step["noise"]["noisy"]:
        yield f"  !! Other processes took {step['noise']['others']:.0%} of the machine: not to be published."
    if step["documents"]["unfinished"]:
        yield f"  !! {step['documents']['unfinished']} documents were not processed when the run ended."


def _row(name: str, operation: Json) -> str:
    first, whole = (_cells(operation[kind]) for kind in ("first_event", "whole"))
    return ROW.format(name, operation["count"], f"{operation['a_second']:.2f}", operation["errors"], *first, *whole)


def _cells(told: Json | None) -> list[str]:
    return [f"{told[name]:.3f}" for name in ("average", "p50", "p95", "p99")] if told else [""] * 4


def _line(label: str, told: Json | None) -> str:
    if not told:
        return f"  {label:32} not measured"
    figures = ", ".join(f"{name} {told[name]:.3f}" for name in ("average", "p50", "p95", "p99", "most"))
    return f"  {label:32} {figures} ({told['count']})"


def _answers(step: Json) -> Iterator[str]:
    answers = step["answers"]
    if not answers["whole"]:
        return
    yield _line("whole answer", answers["whole"])
    if answers["whole_from_cache"]:
        yield _line("of these from the answer cache", answers["whole_from_cache"])
    yield _line("first word", answers["first_word"])
    yield _line("site adds to the first word", answers["added_first"])
    yield _line("site adds to the whole answer", answers["added_whole"])
    if answers["rewriting"]:
        yield _line("the model's call before, not in these", answers["rewriting"])
    for name, told in answers["site_timings"].items():
        yield _line(f"site's own timing: {name}", told)
    if answers["other_share"]:
        yield f"  {answers['other_share']:.0%} of the answers came without the model: no part of what is added"
    model, late = step["model"], step["model"]["late_ms"]
    yield (
        f"  the model: {model['first']:g} ms to the first token, {model['tokens']} at {model['delay']:g} ms; late by"
        f" p50 {late['p50']:.1f}, p95 {late['p95']:.1f} ms; at most {model['most_open']} at once"
    )


def _work(step: Json) -> Iterator[str]:
    cpu, memory = step["cpu"], step["memory"]["most_mb"]
    shares = [name for name in (*PARTS, *BESIDE) if name in cpu["of_a_core"]]
    if shares:
        yield "  processor, of a core: " + ", ".join(f"{name} {cpu['of_a_core'][name] or 0:.0%}" for name in shares)
    if cpu["ms_an_answer"]:
        parts = ", ".join(f"{name} {cpu['parts_ms_an_answer'][name]:.1f}" for name in PARTS[1:] if name in shares)
        more = "" if cpu["only_answers"] else ", with all else that happened"
        yield f"  processor time an answer: {cpu['ms_an_answer']:.1f} ms{more} ({parts})"
    if memory:
        yield "  memory, most (PSS, MB): " + ", ".join(f"{name} {size:.0f}" for name, size in memory.items())
    yield f"  database connections, most: {_or_not(step['database']['most_connections'])}"
    if step["disk"]:
        yield "  disk: " + ", ".join(f"{name} {size / 1e6:+.0f} MB" for name, size in step["disk"].items())


def _documents(documents: Json) -> Iterator[str]:
    if not documents["uploaded"]:
        return
    yield _line("upload to processed", documents["processed"])
    for name, told in documents["stages"].items():
        yield _line(f"  {name}", told)
    failed = ", ".join(f"{count} × {code}" for code, count in documents["failed"].items()) or "none"
    age = documents["most_queue_age"] and round(documents["most_queue_age"])
    yield f"  documents: {documents['uploaded']} uploaded, failed: {failed}"
    yield f"  queue: at most {_or_not(documents['most_queued'])} documents, the oldest {_or_not(age)} s old"


def _caches(caches: Json) -> Iterator[str]:
    def share(name: str) -> str:
        return "–" if caches[name] is None else f"{caches[name]:.0%}"

    shares = (
        ("answers", "answers_from_cache"),
        ("reads not modified (304)", "not_modified"),
        ("lookups in Valkey", "valkey_hits"),
    )
    yield "  caches: " + ", ".join(f"{label} {share(name)}" for label, name in shares)
    keyspaces = caches["by_keyspace"]
    if keyspaces is None:
        yield "  caches by keyspace: not offered by the site"
    for name, told in sorted((keyspaces or {}).items()):
        if asked := told["hits"] + told["misses"]:
            yield f"    {name}: {told['hits'] / asked:.0%} of {asked:.0f}"


def _generator(step: Json) -> Iterator[str]:
    told, noise = step["generator"], step["noise"]
    yield (
        f"  generator: {told['of_a_core']:.0%} of a core, woke late by p50 {told['late_p50'] * 1000:.1f} ms,"
        f" p95 {told['late_p95'] * 1000:.1f} ms, most {told['late_most'] * 1000:.0f} ms"
    )
    loop = f"a fixed loop took {noise['loop_before']['cpu']:.3f} s before, {noise['loop_after']['cpu']:.3f} s after"
    if noise["noisy"] is None:
        yield f"  machine: {loop}"
        return
    yield (
        f"  machine: {noise['work']:.0%} busy, others {noise['others']:.0%}, idle {noise['idle']:.0%},"
        f" waiting for disks {noise['iowait']:.0%}, stolen {noise['steal']:.1%}; {loop}"
    )


def _probes(probes: Json) -> Iterator[str]:
    yield "Before the load"
    yield f"  second start to the first page: {probes['second_start']:.1f} s"
    yield "  memory at rest (PSS, MB): " + ", ".join(f"{n} {s / 1e6:.0f}" for n, s in probes["idle_memory"].items())
    yield _line("retrieval alone, one user", probes["retrieval"])


def _spread(steps: Sequence[Json]) -> Iterator[str]:
    """Of several runs: the median of each figure, the least and the most."""
    columns = dict.fromkeys((step["system"], step["users"], step["cache"]) for step in steps)
    for system, users, cache in columns:
        runs = [step for step in steps if (step["system"], step["users"], step["cache"]) == (system, users, cache)]
        if len(runs) < 2:
            continue
        yield f"{len(runs)} runs of {system} with {users} users, answer cache {cache}: median (least–most)"
        for name in runs[0]["figures"]:
            if found := of_several([run["figures"][name] for run in runs]):
                yield f"  {name:20} {found[0]:.4g} ({found[1]:.4g}–{found[2]:.4g})"
        yield ""


def _knee(steps: Sequence[Json]) -> Iterator[str]:
    if len({step["users"] for step in steps}) < 2:
        return
    yield "Rising users"
    yield "  {:>12} {:>6} {:>8} {:>10} {:>10} {:>10} {:>8} {:>7}".format(
        "system", "users", "cache", "answers/s", "p95 whole", "p95 added", "errors", "busy"
    )
    for step in steps:
        figures, work = step["figures"], step["noise"].get("work")
        cells = [_number(figures[name]) for name in ("answers_a_second", "answer_p95", "added_first_p95")]
        yield "  {:>12} {:>6} {:>8} {:>10} {:>10} {:>10} {:>8.0f} {:>7}".format(
            step["system"][:12],
            step["users"],
            step["cache"],
            *cells,
            figures["errors"],
            "–" if work is None else f"{work:.0%}",
        )
    yield ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _or_not(value: float | None) -> str:
    return "not offered" if value is None else f"{value:g}"


def verdicts_of(report: Json) -> list[Verdict]:
    """Of every column of ours: the median of its runs; of rising users, how far they held."""
    steps = [step for step in report["steps"] if step["system"] == report["system"]]
    rising = len({step["users"] for step in steps}) > 1
    found: list[Verdict] = []
    for cache in dict.fromkeys(step["cache"] for step in steps):
        own = [step for step in steps if step["cache"] == cache]
        if rising:
            found += _knee_verdict(report["profile"], cache, own)
        else:
            names = own[0]["figures"]
            spread = {name: of_several([step["figures"][name] for step in own]) for name in names}
            figures = {name: told[0] if told else None for name, told in spread.items()}
            figures["errors"] = sum(step["figures"]["errors"] for step in own)
            found += verdicts(report["profile"], cache, own[0]["users"], figures)
    return found


def _knee_verdict(profile: str, cache: str, steps: Sequence[Json]) -> list[Verdict]:
    if profile not in KNEE.profiles:
        return []
    rising = sorted(steps, key=lambda step: step["users"])
    told = [(step["users"], step["figures"]["answer_p95"], int(step["figures"]["errors"])) for step in rising]
    held, tried = knee(told), told[-1][0]
    reached_all = held == tried and tried < (KNEE.must or 0)  # then the knee is beyond what was tried
    return [Verdict(KNEE, None if reached_all else float(held), cache)]
