"""F6: every system call of an operation fails (EIO, EROFS), is interrupted, or moves less than it was asked to."""

from __future__ import annotations

import errno
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from model.doors import RestDoor, Unanswered
from support.fault_counts import FaultRun
from support.fault_operations import OPERATIONS
from support.fault_points import MARKS
from support.fault_runs import IS_SOAK, all_points, memory_folder, run_points
from support.faulty_cluster import faulty_cluster
from support.faulty_disk import Fault, FaultControl, Manner

pytestmark = [pytest.mark.slow, pytest.mark.fault(id="F6"), pytest.mark.timeout(1000)]

FAULTS = ["EIO", "EIO-afterwards", "EROFS", "short", "EINTR"]
BODY = b"a body" * 700_000
SENDFILE_FAILS = Fault("EIO", errno.EIO, calls={"sendfile"})
SENDFILE_IS_SHORT = Fault("short", 0, Manner.HALF, calls={"sendfile"})
SAME = {"create": "open", "close-read": "close"}
"""Kinds that strace's name does not tell apart."""
KIND_OF = {
    "openat": "open", "newfstatat": "stat", "fstat": "stat", "lstat": "stat", "statx": "stat", "pread64": "pread",
    "preadv2": "preadv", "pwrite64": "pwrite", "writev": "pwritev", "pwritev2": "pwritev", "statfs": "statvfs",
    "fstatfs": "statvfs", "mkdirat": "mkdir", "renameat": "rename", "renameat2": "rename", "linkat": "link",
    "unlinkat": "unlink", "symlinkat": "symlink",
}  # fmt: skip
HARMLESS = {"lseek", "ioctl", "flock", "fcntl", "fadvise64", "mmap", "getdents64", "faccessat", "faccessat2"}
"""Of the last two, the library makes some itself."""
PATHS_OF_PUT_AND_GET = ["inline", "single", "chunked", "parts", "get", "get-chunked", "get-range"]


@pytest.mark.parametrize("operation", list(OPERATIONS) if IS_SOAK else PATHS_OF_PUT_AND_GET)
def test_whatever_call_fails_the_error_is_typed_the_bytes_are_right_and_no_sync_is_repeated(
    operation: str, fault_run: FaultRun
) -> None:
    tally = all_points(operation, FAULTS)
    fault_run.count += tally.points
    fault_run.note_worst(f"points of {operation}", tally.points)
    assert tally.points > 10


def test_a_body_whose_sendfile_fails_is_broken_off_and_never_called_whole(fault_run: FaultRun) -> None:
    with faulty_cluster() as (cluster, control):
        requests.post(f"{cluster.endpoint}/v1/buckets/sent", json={"action": "create-bck"}, timeout=30)
        door = RestDoor(cluster, "sent")
        door.put("object", BODY)
        outcomes = Counter[str]()
        for fault in (SENDFILE_FAILS, SENDFILE_IS_SHORT):
            # Each gateway verifies the object once before it sends the file itself.
            while not is_sent(door, control):
                """Once more."""
            when = 0
            while fault_run.count < 1000:
                when += 1
                control.arm(fault, when)
                try:
                    assert door.get("object").body == BODY
                    outcomes[f"{fault.name} whole"] += 1
                except Unanswered:
                    outcomes[f"{fault.name} broken off"] += 1
                if not control.failed and control.seen:
                    break
                fault_run.count += control.failed
        assert outcomes["EIO broken off"] > 0
        assert outcomes["short whole"] > 0
        assert not outcomes["short broken off"]


def is_sent(door: RestDoor, control: FaultControl) -> bool:
    control.count({"sendfile"})
    assert door.get("object").body == BODY
    return control.seen > 0


@pytest.mark.parametrize("operation", ["parts", "copy", "rechunk", "get-chunked"])
def test_the_calls_that_are_made_to_fail_are_all_that_strace_sees(
    operation: str, tmp_path: Path, fault_run: FaultRun
) -> None:
    """Or a fault point could be missing."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    with memory_folder() as folder:
        strace = ["strace", "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=%file,%desc"]
        tally = run_points(folder, operation, [], under=strace)
        seen = Counter(kinds_between_marks(trace.read_text(errors="replace"), f"{folder}/stores/store"))
    counted = Counter[str]()
    for call, count in tally.calls.items():
        counted[SAME.get(call, call)] += count
    assert counted == seen
    fault_run.note_worst(f"calls of {operation}", tally.points)


def kinds_between_marks(trace: str, folder: str) -> Iterator[str]:
    """Of calls that reach a file of the store. Looks at descriptors' places and locks cannot fail for a disk."""
    begin, end = (trace.index(mark) for mark in MARKS)
    for line in trace[begin:end].splitlines()[1:-1]:
        if (call := re.match(r"\d+ +(\w+)\(", line)) is None or folder not in line:
            continue
        kind = "rmdir" if "AT_REMOVEDIR" in line else KIND_OF.get(call[1], call[1])
        if kind not in HARMLESS:
            yield kind
