"""A seccomp filter that lets a reader compute, answer and read what is open, and nothing else.

Written out by hand because libseccomp is a system library that a machine with only Python does not have.
Every call that is not listed fails with EPERM: a parser that tries something unusual gets an error, not a crash.
"""

import ctypes
import errno
import os
import platform
import struct
from typing import Final

PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2

_LOAD, _IF_EQUAL, _IF_ANY_BIT, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_DENY = 0x00050000 | errno.EPERM
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32_CALLS = 0x40000000
_MORE_THAN_READING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PROT_EXEC = 4

_AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_PLAIN_CALLS: Final[dict[str, dict[str, int]]] = {
    "x86_64": {
        "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "munmap": 11,
        "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19,
        "writev": 20, "access": 21, "select": 23, "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35,
        "getpid": 39, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "exit": 60, "uname": 63,
        "fcntl": 72, "getcwd": 79, "readlink": 89, "gettimeofday": 96, "getrusage": 98, "sysinfo": 99, "times": 100,
        "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "sigaltstack": 131,
        "statfs": 137, "fstatfs": 138, "gettid": 186, "futex": 202, "sched_getaffinity": 204, "getdents64": 217,
        "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230,
        "exit_group": 231, "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "pselect6": 270, "ppoll": 271,
        "set_robust_list": 273, "getrandom": 318, "membarrier": 324, "statx": 332, "rseq": 334,
    },
    "aarch64": {
        "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "munmap": 215, "brk": 214,
        "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "pread64": 67, "readv": 65, "writev": 66,
        "sched_yield": 124, "mremap": 216, "madvise": 233, "nanosleep": 101, "getpid": 172, "sendto": 206,
        "recvfrom": 207, "sendmsg": 211, "recvmsg": 212, "exit": 93, "uname": 160, "fcntl": 25, "getcwd": 17,
        "gettimeofday": 169, "getrusage": 165, "sysinfo": 179, "times": 153, "getuid": 174, "getgid": 176,
        "geteuid": 175, "getegid": 177, "getppid": 173, "sigaltstack": 132, "statfs": 43, "fstatfs": 44,
        "gettid": 178, "futex": 98, "sched_getaffinity": 123, "getdents64": 61, "restart_syscall": 128,
        "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "exit_group": 94, "newfstatat": 79,
        "readlinkat": 78, "faccessat": 48, "pselect6": 72, "ppoll": 73, "set_robust_list": 99, "getrandom": 278,
        "membarrier": 283, "statx": 291, "rseq": 293,
    },
}  # fmt: skip
_CHECKED_CALLS: Final[dict[str, dict[str, int]]] = {
    "x86_64": {"openat": 257, "mmap": 9, "mprotect": 10, "tgkill": 234},
    "aarch64": {"openat": 56, "mmap": 222, "mprotect": 226, "tgkill": 131},
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def install(pid: int, *, may_open: bool) -> bool:
    """Confine this thread for good; False where the kernel or the processor's kind is not supported.

    Needs PR_SET_NO_NEW_PRIVS. ``pid`` is the caller: it may send signals (abort) to itself alone. ``may_open`` allows
    it to open files for reading.
    """
    machine = platform.machine()
    if machine not in _AUDIT_ARCHITECTURES:
        return False
    code = _program(machine, pid, may_open)
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _program(machine: str, pid: int, may_open: bool) -> bytes:
    checked = _CHECKED_CALLS[machine]
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_IF_EQUAL, _AUDIT_ARCHITECTURES[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_IF_AT_LEAST, _X32_CALLS, 0, 1),
        _step(_RETURN, _DENY),
    ]
    for number in _PLAIN_CALLS[machine].values():
        steps += [_step(_IF_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    if may_open:
        steps += _unless(checked["openat"], argument=2, test=_IF_ANY_BIT, value=_MORE_THAN_READING)
    steps += _unless(checked["mmap"], argument=2, test=_IF_ANY_BIT, value=_PROT_EXEC)
    steps += _unless(checked["mprotect"], argument=2, test=_IF_ANY_BIT, value=_PROT_EXEC)
    steps += _only_if(checked["tgkill"], argument=0, value=pid)
    return b"".join([*steps, _step(_RETURN, _DENY)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _unless(call: int, *, argument: int, test: int, value: int) -> list[bytes]:
    """Allow this call unless the test of one of its arguments holds."""
    load = _step(_LOAD, _ARGUMENTS + 8 * argument)
    return [_step(_IF_EQUAL, call, 0, 4), load, _step(test, value, 0, 1), _step(_RETURN, _DENY), _step(_RETURN, _ALLOW)]


def _only_if(call: int, *, argument: int, value: int) -> list[bytes]:
    """Allow this call only if one of its arguments has this value."""
    load = _step(_LOAD, _ARGUMENTS + 8 * argument)
    equal = _step(_IF_EQUAL, value, 0, 1)
    return [_step(_IF_EQUAL, call, 0, 4), load, equal, _step(_RETURN, _ALLOW), _step(_RETURN, _DENY)]
