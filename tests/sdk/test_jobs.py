"""`Job` of the official SDK, as far as `test_object_groups.py` does not use it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError


def deletion(bucket: Bucket) -> str:
    bucket.object("o").get_writer().put_content(b"x")
    return str(bucket.objects(obj_names=["o"]).delete())


def test_a_job_is_found_at_once_and_kept_after_its_end(client: Client, bucket: Bucket) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=5)
    job = client.job(deletion(bucket))
    assert job.status().uuid == job.job_id
    assert job.wait(timeout=20).success
    assert job.status().end_time > 0
    snaps = job.get_details().list_snapshots()
    assert sum(snap.stats.objects for snap in snaps if snap.stats) == 1
    assert {snap.bucket.name for snap in snaps if snap.bucket} == {bucket.name}
    assert job.get_total_time() is not None
    assert job.wait_for_idle(timeout=5).success
    assert job.wait_single_node(timeout=5).success
    found = client.job(job.job_id, job_kind="delete-listrange").get_within_timeframe(begun)
    assert job.job_id in {snap.id for snap in found}


def test_an_unknown_job_is_not_found(client: Client) -> None:
    with pytest.raises(AISError) as error:
        client.job("none").status()
    assert error.value.status_code == 404
    for call in (client.job("none").wait, client.job("none").abort, client.job("none").get_details):
        with pytest.raises(AISError) as error:
            call()
        assert error.value.status_code == 404


@pytest.mark.parametrize("kind", ["lru", "lru-eviction", "cleanup", "resilver"])
def test_a_kind_is_started_by_either_of_its_names(client: Client, kind: str) -> None:
    job = client.job(client.job(job_kind=kind).start())
    assert job.wait(timeout=5).success


@pytest.mark.parametrize("kind", ["etl-bck", "no-such-kind"])
def test_what_is_not_built_says_so(client: Client, kind: str) -> None:
    with pytest.raises(AISError) as error:
        client.job(job_kind=kind).start()
    assert error.value.status_code == 501
