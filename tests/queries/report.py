"""Path → statement → plan, of a site that has been seeded:

    RAGSITE_DATA_DIR=… python -m tests.queries.report [--owner seed-00001] [--markdown] [--only /api/v1/documents]

Sends each request of tests/queries/requests.py in this process, as the account named, and rolls nothing back: use it on
a made site. Prints what each statement reads, and ends with 1 when a plan has a fault.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

from ragsite.embedded.services import services_for


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.queries.report")
    parser.add_argument("--owner", default="seed-00001")
    parser.add_argument("--only", default="", help="paths that hold this")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
    # Static files straight from their folders; nothing that a cache has answered.
    os.environ.update(RAGSITE_THROTTLE="off", RAGSITE_DEBUG="true", RAGSITE_CACHES_OFF="all")
    with services_for("ask"):  # those of the running site, or its servers and the encoder for as long as this takes
        import django

        django.setup()
        from django.conf import settings

        settings.ALLOWED_HOSTS = ["*"]
        bad = sum(_shown(line, given.markdown) for line in _lines(given.owner, given.only))
    sys.exit(bool(bad))


def _lines(username: str, only: str) -> Iterator[tuple[str, Any, list[str]]]:
    """Each statement once for each route, with its faults."""
    from ragsite.accounts.models import User
    from tests.queries.plans import faults
    from tests.queries.recording import recorded
    from tests.queries.requests import EVERY
    from tests.queries.world import Caller

    caller = Caller(User.objects.get(username=username))
    for call in [call for call in EVERY if only in call.path]:
        with recorded(plans=True) as statements:
            response = caller.send(call)
        if response.status_code != call.expect:
            print(
                f"{call}: {response.status_code} instead of {call.expect}: {response.content[:200]!r}", file=sys.stderr
            )
        for statement in {statement.shape: statement for statement in statements}.values():
            yield str(call), statement, faults(statement, call.limits)


def _shown(line: tuple[str, Any, list[str]], markdown: bool) -> int:
    from tests.queries.plans import rows_read, summary

    call, statement, wrong = line
    if markdown:
        sql = statement.shape.replace("|", "\\|")
        print(f"| `{call}` | `{sql[:300]}` | {summary(statement)} | {rows_read(statement)} | {statement.buffers} |")
    else:
        print(f"{rows_read(statement):>9,} rows {statement.buffers:>7,} pages  {call}\n    {statement.shape[:160]}")
        print(f"    {summary(statement)[:300]}")
        for fault in wrong:
            print(f"  !! {fault}")
    sys.stdout.flush()
    return len(wrong)


if __name__ == "__main__":
    main()
