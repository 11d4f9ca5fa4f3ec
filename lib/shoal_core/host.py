"""Which machine and process namespace this is, and the clock that leases are judged by."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path


def host_id() -> str:
    """Boot id and PID namespace: processes that agree can share LMDB's reader table and Unix sockets."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


boottime_seconds: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Goes on while the machine sleeps, unlike the monotonic clock. Asked for each request, so no function of ours."""
