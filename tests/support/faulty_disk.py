"""A process whose system calls on files below a folder fail when a test wants it, by a small library that is preloaded.

strace can do it too (`-e inject`), but starts a process for each fault, counts each thread alone, and makes no call in
half. The library (`faulty_disk.c`) is compiled by the machine's C compiler; where there is none, tests are skipped.
"""

from __future__ import annotations

import functools
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("faulty_disk.c")
HEAD = struct.Struct("<iiiiQQQQ")
ENTRIES, TEXT = 4096, 128
SIZE = HEAD.size + ENTRIES * TEXT
FAULTS, FAULTS_ROOT = "SHOAL_FAULTS", "SHOAL_FAULTS_ROOT"

CALLS = (
    "open", "create", "close", "read", "pread", "preadv", "write", "pwrite", "pwritev", "fsync", "fdatasync",
    "sync_file_range", "ftruncate", "fallocate", "mkdir", "rename", "link", "unlink", "rmdir", "sendfile", "stat",
    "statvfs", "close-read", "symlink",
)  # fmt: skip
"""As the library numbers them."""
ALL_CALLS = frozenset(CALLS)
READING = frozenset({"open", "close-read", "read", "pread", "preadv", "sendfile", "stat", "statvfs"})
WRITING = ALL_CALLS - READING - {"sync_file_range", "unlink", "rmdir"}
"""Those that a full disk may refuse; syncs and close do where space is given out late."""
MOVING = frozenset(["read", "pread", "preadv", "write", "pwrite", "pwritev", "sendfile"])


class Mode(IntEnum):
    OFF = 0
    COUNT = 1
    ONCE = 2
    ONWARDS = 3


class Manner(IntEnum):
    INSTEAD = 0
    """The call is not made."""
    AFTERWARDS = 1
    """It is made, and then reported as failed."""
    HALF = 2
    """It moves half of the bytes, and says so."""


@dataclass(frozen=True)
class Fault:
    name: str
    error: int
    manner: Manner = Manner.INSTEAD
    mode: Mode = Mode.ONCE
    calls: Collection[str] = ALL_CALLS


class FaultControl:
    """The file that both sides share."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SIZE)

    def count(self, calls: Collection[str] = ALL_CALLS) -> None:
        self._set(Mode.COUNT, 0, Manner.INSTEAD, calls, when=0)

    def arm(self, fault: Fault, when: int = 1) -> None:
        """The `when`-th call from now on fails."""
        self._set(fault.mode, fault.error, fault.manner, fault.calls, when=when)

    def disarm(self) -> None:
        self._memory[:4] = struct.pack("<i", Mode.OFF)

    @property
    def seen(self) -> int:
        return int(HEAD.unpack_from(self._memory)[6])

    @property
    def failed(self) -> int:
        return int(HEAD.unpack_from(self._memory)[7])

    def log(self) -> list[str]:
        """`call file` of each that was counted, with a `!` before those that failed."""
        found = []
        for number in range(min(self.seen, ENTRIES)):
            start = HEAD.size + number * TEXT
            found.append(self._memory[start : start + TEXT].split(b"\0", 1)[0].decode(errors="replace"))
        return found

    def _set(self, mode: Mode, error: int, manner: Manner, calls: Collection[str], *, when: int) -> None:
        self.disarm()
        kinds = sum(1 << number for number, call in enumerate(CALLS) if call in calls)
        HEAD.pack_into(self._memory, 0, Mode.OFF, error, manner, 0, kinds, when, 0, 0)
        self._memory[:4] = struct.pack("<i", mode)


@functools.cache
def library() -> Path:
    """Compiled once a process. Skips the test where that cannot be done."""
    if (compiler := shutil.which("cc") or shutil.which("gcc")) is None:
        pytest.skip("no C compiler: the library that makes system calls fail cannot be made")
    place = Path(tempfile.mkdtemp(prefix="shoal-faults-")) / "faulty_disk.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", str(place), str(SOURCE), "-ldl"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"the library that makes system calls fail cannot be made: {made.stderr[:200]}")
    return place


def environment(control: Path, root: Path) -> dict[str, str]:
    """Of a process that is to be made to fail on files below `root`."""
    return dict(os.environ) | {
        "LD_PRELOAD": str(library()),
        FAULTS: str(control),
        FAULTS_ROOT: str(root),
    }
