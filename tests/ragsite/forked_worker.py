"""What the tests of the zygote have forked: tells what it is; ``a`` ends by itself, ``b`` goes on."""

import ctypes
import os
import sys
import time
from pathlib import Path

name = sys.argv[1]
dies_with = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(dies_with), 0, 0, 0)  # PR_GET_PDEATHSIG
command = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
print(f"I am {name}, my environment has {' '.join(key for key in os.environ if key == f'OF_{name}')}")
print(f"shown as {command}")
print(
    f"child of the supervisor {b'import Supervisor' in parent}, leads its session {os.getsid(0) == os.getpid()}, "
    f"dies with it {dies_with.value}",
    flush=True,
)
if name == "a":
    sys.exit(3)
time.sleep(600)
