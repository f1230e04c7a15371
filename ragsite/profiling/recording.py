"""What silk records of this site: a share of the requests and tasks, each statement without its values, slow ones with
their plan.

silk itself hooks the ORM's compiler: it misses raw SQL (search) and tasks, explains every statement, and writes the
values into the text, password hashes and what people ask among them. A wrapper of each connection takes its place.
"""

import json
import random
import re
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg2
from celery.signals import task_postrun, task_prerun
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpRequest
from django.utils import timezone
from silk.collector import DataCollector
from silk.models import Request, SQLQuery

from ragsite.layout import PROJECT_DIR

SLOW_SECONDS = 0.02
"""From here on a statement's plan is kept."""
KEPT = timedelta(days=7)
SECRET_PATHS = ("/accounts/", "/silk/", "/static/")
"""Links that reset a password are secrets, the others are not worth a record."""
EXPLAINED = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
OWN = re.compile(r'"silk_|SAVEPOINT|\bEXPLAIN\b')
LITERAL = re.compile(r"'(?:[^']|'')*'")
FRAMES = 6


def install() -> None:
    """Have every connection of this process recorded."""
    SQLCompiler._execute_sql = SQLCompiler.execute_sql  # type: ignore[attr-defined]  # silk hooks what has none
    connection_created.connect(_watch, dispatch_uid="ragsite.profiling")
    task_prerun.connect(_begin_task, dispatch_uid="ragsite.profiling")
    task_postrun.connect(_end_task, dispatch_uid="ragsite.profiling")


def chosen(request: HttpRequest) -> bool:
    """silk's question whether a request is recorded."""
    return not request.path_info.startswith(SECRET_PATHS) and _sampled()


def forget_old() -> int:
    """Remove what is older than a week. Returns how many requests that were."""
    old = Request.objects.filter(start_time__lt=timezone.now() - KEPT).values("id")
    with transaction.atomic():
        SQLQuery.objects.filter(request__in=old).delete()
        return int(Request.objects.filter(id__in=list(old)).delete()[0])


def _sampled() -> bool:
    return random.random() * 100 < settings.RAGSITE_SILK_PERCENT  # noqa: S311


def _watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _record not in connection.execute_wrappers:
        connection.execute_wrappers.append(_record)


def _record(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """An ``execute_wrapper``."""
    request = DataCollector().request
    if request is None or OWN.search(sql[:400]):
        return execute(sql, params, many, context)
    began, started = timezone.now(), time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        seconds = time.perf_counter() - started
        plan = _plan(context["connection"], sql, params) if seconds >= SLOW_SECONDS and not many else None
        entry = {"query": sql, "start_time": began, "end_time": began + timedelta(seconds=seconds), "request": request}
        DataCollector().register_query(entry | {"traceback": _place(), "analysis": plan})


def _place() -> str:
    """Where in the site's own code the statement comes from, the innermost first."""
    own = [frame for frame in traceback.extract_stack() if frame.filename.startswith(str(PROJECT_DIR))]
    ours = [frame for frame in own if "/.venv/" not in frame.filename and frame.filename != __file__]
    return "\n".join(
        f'File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in reversed(ours[-FRAMES:])
    )


def _plan(wrapper: BaseDatabaseWrapper, sql: str, params: Any) -> str | None:
    """The plan as JSON without the values in its conditions; it is not run again."""
    if not EXPLAINED.match(sql) or wrapper.needs_rollback or wrapper.connection is None:
        return None
    try:
        with transaction.atomic(using=wrapper.alias), wrapper.connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            found = cursor.fetchone()[0]
    except (DatabaseError, psycopg2.Error):
        return None
    return json.dumps(_without_values(found[0]["Plan"]))


def _without_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_values(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_without_values(entry) for entry in value]
    return LITERAL.sub("?", value) if isinstance(value, str) else value


def _begin_task(task: Any, **_: Any) -> None:
    """A task is recorded like a request, under its name."""
    DataCollector().clear()
    if _sampled():
        request = Request.objects.create(path=task.name, view_name=task.name, method="TASK")
        DataCollector().configure(request, should_profile=False)


def _end_task(**_: Any) -> None:
    request = DataCollector().request
    if request is None:
        return
    try:
        request.end_time = timezone.now()
        with transaction.atomic():
            DataCollector().finalise()
            request.save()
    except DatabaseError:
        connection.close()  # the record is lost; the task is done
    finally:
        DataCollector().clear()
