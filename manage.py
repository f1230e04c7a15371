#!/usr/bin/env python
"""Django's command line, with the servers that a command needs around it."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured

from ragsite.databases import go_direct
from ragsite.embedded import CannotStart, services_for
from ragsite.environment import read_dotenv


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ragsite.settings")
    read_dotenv()
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    asks_for_help = {"-h", "--help"} & set(sys.argv[1:])
    go_direct(command)
    try:
        if command == "up" and not asks_for_help:  # without Django, which the supervisor has no use for
            from ragsite.supervisor import up

            sys.exit(up(sys.argv[2:]))
        with services_for("help" if asks_for_help else command):
            from django.core.management import execute_from_command_line

            execute_from_command_line(sys.argv)
    except (CannotStart, ImproperlyConfigured) as error:
        sys.exit(f"ragsite: {error}")


if __name__ == "__main__":
    main()
