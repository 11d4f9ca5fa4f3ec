"""Jobs over many objects whose target is killed half-way: they finish, and repeat one batch at most."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from aistore import Client

from shoal_target.object_jobs import BATCH_NAMES
from support.cluster import Cluster
from support.workload import wait_until

pytestmark = pytest.mark.slow

OBJECTS = 3000
NAMES = [f"o-{number:04}" for number in range(OBJECTS)]


def fill(cluster: Cluster, bucket: str) -> None:
    Client(cluster.endpoint).bucket(bucket).create()
    with requests.Session() as session, ThreadPoolExecutor(4) as threads:

        def put(name: str) -> None:
            url = f"{cluster.endpoint}/v1/objects/{bucket}/{name}"
            session.put(url, data=name.encode(), timeout=30).raise_for_status()

        list(threads.map(put, NAMES))


def progress(cluster: Cluster, job_id: str) -> tuple[str, int]:
    """State, and objects done over all targets."""
    answer = requests.get(f"{cluster.endpoint}/-/api/v1/jobs/{job_id}", timeout=30)
    job: dict[str, Any] = answer.json()["job"]
    return job["state"], sum(int(share.get("objects", 0)) for share in job["progress"])


def kill_half_way(cluster: Cluster, job_id: str, is_half_done: Callable[[], bool]) -> int:
    """How many objects were told of before the kill."""
    # Not by what the job tells: just after it told how far it is, there is nothing to repeat.
    wait_until(is_half_done, 30, "half is done")
    cluster.kill("t1")
    told = progress(cluster, job_id)[1]
    cluster.wait_ready()
    wait_until(lambda: progress(cluster, job_id)[0] != "JOB_STATE_RUNNING", 60, "the job has ended")
    return told


def test_a_copy_whose_target_is_killed_repeats_one_batch_at_most(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster(targets=1)
    fill(cluster, "from")
    client = Client(cluster.endpoint)
    (job_id,) = client.bucket("from").objects(obj_names=NAMES).copy(client.bucket("to"), num_workers=1)
    to = f"{cluster.endpoint}/v1/objects/to/{NAMES[OBJECTS // 2]}"
    told = kill_half_way(cluster, job_id, lambda: requests.head(to, timeout=30).ok)
    assert told < OBJECTS, "it had ended before the kill"
    assert progress(cluster, job_id) == ("JOB_STATE_FINISHED", OBJECTS)
    copies = client.bucket("to").list_all_objects(props="name,version")
    assert [copy.name for copy in copies] == NAMES
    # An object that was copied twice has been overwritten once.
    assert sum(copy.version != "1" for copy in copies) <= BATCH_NAMES


def test_a_deletion_whose_target_is_killed_does_not_miss_what_it_deleted(
    new_cluster: Callable[..., Cluster],
) -> None:
    cluster = new_cluster(targets=1)
    fill(cluster, "gone")
    bucket = Client(cluster.endpoint).bucket("gone")
    job_id = bucket.objects(obj_names=NAMES).delete()
    url = f"{cluster.endpoint}/v1/objects/gone/{NAMES[OBJECTS // 2]}"
    assert kill_half_way(cluster, job_id, lambda: not requests.head(url, timeout=30).ok) < OBJECTS
    assert progress(cluster, job_id)[0] == "JOB_STATE_FINISHED"
    assert bucket.list_all_objects() == []


def shoal(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shoal_cli", "job", *arguments]
    return subprocess.run(
        command, env=cluster.environment(), capture_output=True, text=True, timeout=60, check=False
    )


def test_jobs_are_followed_stopped_and_forgotten_by_commands(cluster: Cluster) -> None:
    fill(cluster, "many")
    bucket = Client(cluster.endpoint).bucket("many")
    (job_id,) = bucket.objects(obj_names=NAMES).copy(bucket, prepend="c-", num_workers=1)
    assert "still runs" in shoal(cluster, "rm", job_id).stderr
    assert shoal(cluster, "stop", job_id).returncode == 0
    assert shoal(cluster, "wait", job_id).returncode == 1
    assert json.loads(shoal(cluster, "show", job_id, "-o", "json").stdout)["state"] == "aborted"
    deletion = bucket.objects(obj_names=NAMES).delete()
    shown = shoal(cluster, "show", deletion, "--refresh", "0.05", "-o", "json").stdout.splitlines()
    last = json.loads(shown[-1])
    assert (last["state"], [share["seen"] for share in last["targets"].values()]) == ("finished", [OBJECTS])
    assert shoal(cluster, "show", deletion, "--refresh", "1").returncode == 0
    assert deletion in shoal(cluster, "ls", "--kind", "delete-listrange").stdout
    assert shoal(cluster, "rm", deletion).returncode == 0
    assert "does not exist" in shoal(cluster, "show", deletion).stderr
