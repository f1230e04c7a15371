"""What the site says of its own service level (`manage.py sla`), beside what its visitors have measured."""

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Timer
from typing import Any

from tests.instance import Instance
from tests.load.harness.arithmetic import share_of

Json = dict[str, Any]
SAME_FIGURES = {
    "chat_average": "answer_average",
    "chat_p95": "answer_p95",
    "chat_p99": "answer_p99",
    "processing_average": "processed_average",
    "processing_p95": "processed_p95",
    "added_p95": "added_first_p95",
}
"""A target of the site's, and the harness's name of the same."""
ENOUGH = 20
"""Of fewer values a percentile is the largest one: whether that came a second before or after decides."""
FLUSHED_AFTER = 12.0
"""Seconds: what a process has measured reaches the database every ten."""
NEAR_SHARE, NEAR_SECONDS = 0.2, 0.15
"""The site counts in steps of some per cent, and with those who came before all were there; a visitor counts the way
to the site too."""
LEVEL_PAGE = "/admin/service-level/"


def told_by_site(site: Instance, since: float) -> list[Json]:
    """The site's own verdicts since then."""
    time.sleep(FLUSHED_AFTER)
    done = site.manage("sla", "--json", "--since", f"{math.ceil(time.time() - since)}s")
    try:
        return list(json.loads(done.stdout))
    except ValueError:
        raise RuntimeError(f"manage.py sla said {done.stdout}{done.stderr}") from None


def side_by_side(told: Sequence[Json], figures: Json, answers: Sequence[bool]) -> list[Json]:
    """For each target that both have measured: both values and whether they agree. ``answers``: which went well."""
    ours = {name: figures[figure] for name, figure in SAME_FIGURES.items()}
    ours["chat_errors"] = share_of(answers.count(False), len(answers))
    return [
        {
            **{key: one[key] for key in ("target", "limit", "verdict")},
            "site": one["value"],
            "visitors": ours[one["target"]],
            "agree": agree(one, ours[one["target"]]),
        }
        for one in told
        if one["value"] is not None and ours.get(one["target"]) is not None
    ]


def agree(told: Json, visitors: float) -> bool:
    """Times are to be near to each other; of few, and of shares of errors, the verdicts are to be the same."""
    site, limit = told["value"], told["limit"]
    if told["statistic"] == "errors" or told["measured"] < ENOUGH:
        return (site < limit) == (visitors < limit)
    return bool(abs(site - visitors) <= max(NEAR_SHARE * visitors, NEAR_SECONDS))


def lines(compared: Sequence[Json]) -> list[str]:
    """For people."""
    if not compared:
        return []
    rows = [
        f"    {one['target']:20} {one['site']:8.3f} {one['visitors']:8.3f}  of {one['limit']:g}: "
        f"{'agree' if one['agree'] else 'DIFFER'}, the site says {one['verdict']}"
        for one in compared
    ]
    head = "all agree" if all(one["agree"] for one in compared) else "they differ"
    return [f"  the service level as the site sees it, and as its visitors did: {head}", *rows]


def picture_later(url: str, cookie: str, seconds: float) -> Timer | None:
    """A picture of the service-level page in the middle of the load, into the file that SCREENSHOT names."""
    path = os.environ.get("SCREENSHOT", "")
    if not path or not cookie:
        return None
    timer = Timer(seconds, _picture, (url, cookie, Path(path)))
    timer.start()
    return timer


def _picture(url: str, cookie: str, path: Path) -> None:
    """A browser that is not there, or gives up, ends no run."""
    name, _, value = cookie.partition("=")
    try:
        from playwright.sync_api import sync_playwright

        from tests.browser.conftest import ARGUMENTS, CHROMIUM

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            context = browser.new_context(viewport={"width": 1280, "height": 1400})
            context.add_cookies([{"name": name, "value": value, "url": url}])
            page = context.new_page()
            page.goto(url + LEVEL_PAGE)
            page.screenshot(path=path, full_page=True)
            browser.close()
        print(f"picture of the service-level page: {path}", flush=True)
    except Exception as error:
        print(f"no picture of the service-level page: {type(error).__name__}: {error}", flush=True)
