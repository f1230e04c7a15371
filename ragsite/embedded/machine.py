"""What this machine, or this container, has."""

import importlib.util
import os
import shutil
from pathlib import Path

from ragsite.embedded.errors import CannotStart

MEGABYTE = 1024 * 1024
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_megabytes() -> int:
    """Physical memory, or the container's limit where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_container_limits()]) // MEGABYTE


def _container_limits() -> list[int]:
    texts = [path.read_text().strip() for path in _CGROUP_LIMITS if path.is_file()]
    return [int(text) for text in texts if text.isdigit()]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_megabytes(folder: Path) -> int:
    """Space for ordinary users on the folder's file system."""
    return shutil.disk_usage(folder).free // MEGABYTE


def folder_megabytes(folder: Path) -> int:
    """What is in the folder, at any depth; files that vanish meanwhile do not count."""
    return sum(_size(Path(place) / name) for place, _, names in os.walk(folder) for name in names) // MEGABYTE


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def wheel_folder(package: str) -> Path:
    """Where the wheel's files are. It is not imported: importing these two costs time and makes folders."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(f"The package {package} is not installed: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0])
