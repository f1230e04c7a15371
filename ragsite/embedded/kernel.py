"""The few Linux calls that Python 3.11 lacks. Elsewhere they do nothing or say that they cannot."""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here, because a forked child should do as little as possible

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CLONE_NEWUSER = 0x10000000
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Have the kernel send this process the signal when the thread that forked it ends.

    ``parent`` is the pid that the caller was forked from: it may have died before this call. Credentials that change
    afterwards clear the setting, so this comes last before exec.
    """
    if not LINUX:
        return
    _checked(_libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0))
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Have this process become the parent of those below it whose own parent has ended; it must wait for them then."""
    if LINUX:
        _checked(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def name_process(command: Sequence[str]) -> None:
    """What others see as this process's command: as much as there was room for in the one that it was started with."""
    words = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    start, end = int(words[45]), int(words[46])  # arg_start and arg_end, see proc(5)
    shown = b"\0".join(map(os.fsencode, command))[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


def enter_user_namespace(inner_uid: int, inner_gid: int) -> None:
    """Make this process appear to itself as ``inner_uid``, while files go on belonging to who it really is."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare(CLONE_NEWUSER))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inner_uid} {outer_uid} 1")
    _write("/proc/self/gid_map", f"{inner_gid} {outer_gid} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def become(uid: int, gid: int) -> None:
    """Turn from root into another user who, after exec, still passes every file permission check.

    Without CAP_DAC_OVERRIDE that user could not enter a checkout below a 0700 home folder.
    """
    _checked(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    bit = 1 << CAP_DAC_OVERRIDE
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)(_CapabilityData(bit, bit, bit), _CapabilityData(0, 0, 0))
    _checked(_libc.capset(ctypes.byref(header), data))
    _checked(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0))
