"""What a reader of hostile files is not allowed to do, in layers: each one that the machine offers is used and told.

The service confines itself once, after its imports; its children inherit that and add their limits and the seccomp
filter.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from processing.sandbox import landlock, seccomp
from ragsite.extraction import Limits

UNPRIVILEGED_ID: Final = 65432
"""A user id that no account has: a reader owns nothing and shares its id with nobody."""

FONT_FOLDERS: Final = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("/usr/share/X11/fonts")]
"""PDFium reads them for text whose font is not in the file; nothing else on the disk can be opened."""

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 2, 4, 38
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def confine_service() -> dict[str, bool]:
    """Give up network, files and privileges for good. Returns what is in force, by name."""
    orphan_signal = _orphan_signal()
    measures = {"network_namespace": _leave_network(), "unprivileged_user": _drop_privileges()}
    measures["no_new_privileges"] = _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    measures["not_dumpable"] = _prctl(_PR_SET_DUMPABLE, 0)
    measures["landlock"] = landlock.allow_reading_only(FONT_FOLDERS)
    _prctl(_PR_SET_PDEATHSIG, orphan_signal)  # the kernel forgets it when the user changes
    return measures


def confine_job(limits: Limits, service: Mapping[str, bool], parent: int, mapped_bytes: int) -> dict[str, bool]:
    """Limit this child for good. Returns what is in force, with the measures of the ``service`` itself.

    ``parent`` is the service's process: the child dies with it. ``mapped_bytes`` of address space come on top of the
    limit.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _limit_resources(limits, mapped_bytes)
    # without Landlock no file may be opened at all: better a page with a wrong font than a look at the machine
    filtered = seccomp.install(os.getpid(), may_open=service["landlock"])
    return {**service, "resource_limits": True, "seccomp": filtered}


def _leave_network() -> bool:
    """A network namespace of one's own has no way out; an ordinary user may make one inside a user namespace."""
    wanted = _CLONE_NEWNET | _CLONE_NEWIPC
    if os.geteuid() != 0:
        wanted |= _CLONE_NEWUSER
    return bool(_libc.unshare(wanted) == 0)


def _drop_privileges() -> bool:
    """True when the process has no privilege afterwards (an ordinary user has none to give up)."""
    if os.geteuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setresgid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        os.setresuid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    except OSError:  # in a container whose user namespace does not map the id
        return False
    return True


def mapped_and_resident_bytes() -> tuple[int, int]:
    """The address space that this process uses, and its memory but for mapped files, which is what a child begins with.

    To be asked while /proc is in sight.
    """
    mapped, resident, shared = map(int, Path("/proc/self/statm").read_text().split()[:3])
    return mapped * resource.getpagesize(), (resident - shared) * resource.getpagesize()


def _orphan_signal() -> int:
    """The signal that this process gets when its parent dies (0: none)."""
    number = ctypes.c_int()
    _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return number.value


def _limit_resources(limits: Limits, mapped_bytes: int) -> None:
    _set_limit(resource.RLIMIT_AS, mapped_bytes + limits.memory_bytes)
    _set_limit(resource.RLIMIT_CPU, limits.cpu_seconds, spare=2)  # SIGXCPU first, SIGKILL if that is ignored
    _set_limit(resource.RLIMIT_FSIZE, 0)
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_NPROC, 0)
    _set_limit(resource.RLIMIT_NOFILE, 32)


def _set_limit(kind: int, soft: int, spare: int = 0) -> None:
    """Lower a limit; one that is already lower stays."""
    _, hard = resource.getrlimit(kind)
    highest = soft + spare if hard == resource.RLIM_INFINITY else min(hard, soft + spare)
    resource.setrlimit(kind, (min(soft, highest), highest))


def _prctl(option: int, value: int) -> bool:
    return bool(_libc.prctl(option, value, 0, 0, 0) == 0)
