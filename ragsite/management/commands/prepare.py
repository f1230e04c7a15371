"""`manage.py prepare`: bring database and static files up to this release. `up` does the same at every start."""

import json
import os
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from ragsite.first_start import collect_static_files, ensure_first_administrator
from ragsite.layout import PROJECT_DIR


class Command(BaseCommand):
    """Quick when there is nothing to do."""

    help = "Apply migrations, collect static files and make the first administrator, as far as needed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--report", type=int, help="descriptor to tell about the end, as JSON")
        parser.add_argument("--only-static", action="store_true", help="no database is asked: for building an image")

    def handle(self, *args: Any, **options: Any) -> None:
        collect_static_files()
        if options["only_static"]:
            return
        migrate()
        administrator = ensure_first_administrator()
        if options["report"] is not None:
            os.write(options["report"], json.dumps(administrator or {}).encode() + b"\n")
        elif administrator:
            self.stdout.write(f"Sign in as {administrator['username']} with the password {administrator['password']}")


def migrate() -> None:
    """Apply what is not applied; asking costs a query, where the command itself takes a second."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        _migrate()


def _migrate() -> None:
    """In a process of its own where this one speaks to a pooler: `manage.py` sends it to the server itself."""
    if settings.DATABASE_DIRECT_URL in {"", os.environ.get("DATABASE_URL")}:
        call_command("migrate", verbosity=1, interactive=False)
        return
    command = [sys.executable, str(PROJECT_DIR / "manage.py"), "migrate", "--noinput"]
    subprocess.run(command, cwd=PROJECT_DIR, check=True)
