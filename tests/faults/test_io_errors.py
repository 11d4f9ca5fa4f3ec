"""F6: every system call of an operation fails (EIO, EROFS), is interrupted, or moves less than it was asked to."""

from __future__ import annotations

import errno
from collections import Counter

import pytest
import requests

from model.doors import RestDoor, Unanswered
from support.fault_counts import FaultRun
from support.fault_operations import OPERATIONS
from support.fault_runs import IS_SOAK, all_points
from support.faulty_cluster import faulty_cluster
from support.faulty_disk import Fault, FaultControl, Manner

pytestmark = [pytest.mark.slow, pytest.mark.fault(id="F6"), pytest.mark.timeout(1000)]

FAULTS = ["EIO", "EIO-afterwards", "EROFS", "short", "EINTR"]
BODY = b"a body" * 700_000
SENDFILE_FAILS = Fault("EIO", errno.EIO, calls={"sendfile"})
SENDFILE_IS_SHORT = Fault("short", 0, Manner.HALF, calls={"sendfile"})
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
