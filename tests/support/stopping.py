"""Stopping a process (SIGSTOP) at a system call, as a machine that hangs or a debugger would, and letting it go on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from support.workload import wait_until

CALLS = "openat,write,writev,pwrite64,pwritev,fdatasync,fsync,rename,unlink,sendmsg,sendto"
"""What a write does, from its chunk file over the index to the answer."""
LOOKS = 5
"""While it is traced, a process stands still for a moment at every call: only one that stays so is stopped."""


def can_stop_at_calls() -> bool:
    return shutil.which("strace") is not None and os.geteuid() == 0


def stop(pid: int) -> None:
    os.kill(pid, SIGSTOP)
    wait_until(lambda: is_stopped(pid), 20, f"process {pid} stands still")


def let_go_on(pid: int) -> None:
    os.kill(pid, SIGCONT)


@contextmanager
def stopping_at(pid: int, number: int) -> Iterator[None]:
    """Within the block, the process stops at its so many-th call of CALLS; it stays stopped afterwards."""
    command = ["strace", "-f", "-p", str(pid), "-o", "/dev/null", "-e", f"trace={CALLS}"]
    command += ["-e", f"inject={CALLS}:signal=SIGSTOP:when={number}"]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_traced(pid), 20, f"strace follows process {pid}")
        yield
    finally:
        # The kernel lets go of what a dead tracer followed.
        tracer.kill()
        tracer.wait()
        wait_until(lambda: not is_traced(pid, any_thread=True), 20, f"strace leaves process {pid}")


def stands_still(pid: int, ended: Callable[[], bool]) -> bool:
    """Whether it has stopped; False when what it should do has ended without."""
    looks = 0

    def known() -> bool:
        nonlocal looks
        looks = looks + 1 if is_stopped(pid) else 0
        return looks >= LOOKS or ended()

    wait_until(known, 60, f"process {pid} stops, or does its work")
    return looks >= LOOKS


def is_stopped(pid: int) -> bool:
    return set(field_of_threads(pid, "State:")) <= {"T", "t"}


def is_traced(pid: int, *, any_thread: bool = False) -> bool:
    traced = [tracer != "0" for tracer in field_of_threads(pid, "TracerPid:")]
    return any(traced) if any_thread else all(traced)


def field_of_threads(pid: int, name: str) -> list[str]:
    found = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            lines = status.read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [line.split()[1] for line in lines if line.startswith(name)]
    return found
