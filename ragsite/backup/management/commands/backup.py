"""manage.py backup TARGET: the whole site as it is now, while it runs."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ragsite.backup.archive import BackupError
from ragsite.backup.making import backup


class Command(BaseCommand):
    help = "Write database, files and secrets into a new folder: consistent, while the site runs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("target", type=Path, help="a folder that is not there yet")

    def handle(self, *, target: Path, **options: Any) -> None:
        try:
            made = backup(target.absolute())
        except BackupError as error:
            raise CommandError(str(error)) from error
        manifest = made.manifest
        size = f"{manifest.files} files of {manifest.bytes / 1e6:,.1f} MB"
        self.stdout.write(f"{made.folder}: {sum(manifest.rows.values())} rows and {size}, verified by SHA-256.")
        for name in manifest.missing:
            self.stderr.write(f"The storage does not have {name}, which a row names; it is not in the backup.")
        if manifest.missing:
            raise CommandError(f"The backup is made, but for {len(manifest.missing)} missing files.")
