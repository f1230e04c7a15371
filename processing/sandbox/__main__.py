"""``python -m processing.sandbox --socket PATH``: the service that reads people's files; ``manage.py up`` starts it."""

import argparse
import gc
import importlib
import logging
import os
import signal
import sys
from pathlib import Path

from processing.extractors.operations import OPERATIONS
from processing.extractors.warmup import warm_up
from processing.sandbox.confinement import confine_service, mapped_and_resident_bytes
from processing.sandbox.job import Operation, Surroundings
from processing.sandbox.service import Service, listen

logger = logging.getLogger("sandbox")


def main() -> int:
    options = _parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    operations = _operations(options.extra_operations)
    warm_up()
    try:
        listener = listen(options.socket)
    except OSError as error:
        logger.error("cannot listen on %s: %s", options.socket, error)
        return 1
    surroundings = _confine(operations)
    service = Service(listener, surroundings, options.max_jobs)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, service.stop)
    in_force = [name for name, active in surroundings.measures.items() if active]
    logger.info("ready; in force: %s", ", ".join(in_force) or "nothing")
    service.run()
    return 0


def _operations(extra_modules: list[str]) -> dict[str, Operation]:
    operations = dict(OPERATIONS)
    for module in extra_modules:
        operations |= importlib.import_module(module).OPERATIONS
    return operations


def _confine(operations: dict[str, Operation]) -> Surroundings:
    """Take what children need while it can still be had, then give up the machine."""
    _be_first_to_go()
    (mapped, resident), null_device = mapped_and_resident_bytes(), os.open(os.devnull, os.O_RDWR)
    measures = confine_service()
    gc.freeze()  # children share the warm pages instead of copying them when they collect
    return Surroundings(operations, measures, mapped, resident, os.getpid(), null_device)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m processing.sandbox", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument("--max-jobs", type=int, default=4, help="files read at once (default: 4)")
    parser.add_argument(
        "--extra-operations", metavar="MODULE", action="append", default=[], help="more operations, for tests"
    )
    return parser.parse_args()


def _be_first_to_go() -> None:
    """When the machine runs out of memory, a reader should be killed rather than the database."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        pass


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    os._exit(exit_code)  # nothing to tidy: the confined process may not even unlink its socket
