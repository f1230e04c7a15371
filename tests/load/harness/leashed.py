"""`python -m tests.load.harness.leashed CMD…`: runs it, and has it ended (SIGTERM) when whoever started this dies."""

import os
import signal
import sys

from ragsite.embedded.kernel import die_with_parent


def main() -> None:
    die_with_parent(signal.SIGTERM, os.getppid())
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
