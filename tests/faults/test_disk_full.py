"""F5: the disk is full at every write call of every operation, once or from then on, and recovers with space."""

from __future__ import annotations

import errno

import pytest
import requests

from model.doors import GrpcDoor, RestDoor, S3Door, Unanswered
from support.fault_counts import FaultRun
from support.fault_operations import CHANGES
from support.fault_points import GROWING
from support.fault_runs import all_points
from support.faulty_cluster import faulty_cluster
from support.faulty_disk import Fault, Mode

pytestmark = [pytest.mark.slow, pytest.mark.fault(id="F5"), pytest.mark.timeout(1000)]

SMALL, LARGE = b"small" * 500, b"large" * 40_000
TRIED_AGAIN = frozenset({"delete", "delete-versioned", "remove-bucket"})
"""What frees space is tried again at once, and may go through where the disk was full once."""
FULL = Fault("full", errno.ENOSPC, mode=Mode.ONWARDS, calls=GROWING)


@pytest.mark.parametrize("operation", [operation.name for operation in CHANGES])
def test_a_full_disk_is_told_at_every_write_call_and_nothing_is_lost_or_left(
    operation: str, fault_run: FaultRun
) -> None:
    tally = all_points(operation, ["full-once", "full"])
    fault_run.count += tally.points
    assert tally.points >= 6
    assert tally.outcomes["OutOfSpace"] >= (1 if operation in TRIED_AGAIN else 4)


def test_clients_of_all_doors_hear_of_a_full_disk_read_on_and_write_again_with_space(
    fault_run: FaultRun,
) -> None:
    with faulty_cluster() as (cluster, control):
        requests.post(f"{cluster.endpoint}/v1/buckets/full", json={"action": "create-bck"}, timeout=30)
        rest, s3, grpc = RestDoor(cluster, "full"), S3Door(cluster, "full"), GrpcDoor(cluster, "full")
        for name, body in (("small", SMALL), ("large", LARGE)):
            rest.put(name, body)
            control.arm(FULL)
            answer = requests.put(f"{cluster.endpoint}/v1/objects/full/{name}", data=body + b"2", timeout=30)
            assert answer.status_code == 507, answer.text
            assert "the disk is full" in answer.text or "cannot grow" in answer.text
            with pytest.raises(Unanswered, match=r"503 .*ServiceUnavailable"):
                s3.put(name, body + b"2")
            with pytest.raises(Unanswered, match="OutOfSpace"):  # RESOURCE_EXHAUSTED with its reason
                grpc.put(name, body + b"2")
            assert [door.get(name).body for door in (rest, s3, grpc)] == [body] * 3
            assert control.failed >= 3
            fault_run.count += control.failed
            control.disarm()
            s3.put(name, body + b"3")
            assert [door.get(name).body for door in (rest, s3, grpc)] == [body + b"3"] * 3
        grpc.close()
