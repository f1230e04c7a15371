"""manage.py restore SOURCE: a backup into an empty place."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ragsite.backup.archive import BackupError
from ragsite.backup.restoring import restore


class Command(BaseCommand):
    help = "Bring a backup back into an empty database and storage; nothing that is there is ever overwritten."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("source", type=Path, help="a folder that `manage.py backup` has made")

    def handle(self, *, source: Path, **options: Any) -> None:
        try:
            manifest = restore(source.absolute())
        except BackupError as error:
            raise CommandError(str(error)) from error
        rows = sum(manifest.rows.values())
        self.stdout.write(f"Restored the site of {manifest.made_at}: {rows} rows and {manifest.files} files.")
        self.stdout.write("Start it with `manage.py up`. Everybody signs in again; tokens hold.")
