"""A bucket and the clients of a history, on a cluster with several gateways."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aistore import Client

from model.doors import Door, GrpcDoor, RestDoor, S3Door
from model.histories import History
from support.cluster import Cluster
from support.workload import wait_until

SECONDS_MAX = 120


def all_doors(cluster: Cluster, bucket: str) -> list[Callable[[], Door]]:
    """Two clients of each kind, on a new bucket."""
    Client(cluster.endpoint).bucket(bucket).create()
    kinds = (RestDoor, S3Door, GrpcDoor)
    return [partial(kind, cluster, bucket) for kind in kinds for _ in range(2)]


def has_answered(history: History, more: int) -> None:
    """Waits for so many answers from now."""
    goal = history.outcomes["answered"] + more
    wait_until(lambda: history.outcomes["answered"] >= goal, SECONDS_MAX, f"{more} answers")
