"""`ObjectGroup` of the official SDK, `Bucket.copy` and `rename`: jobs over many objects, and how they are followed."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError
from aistore.sdk.job import Job
from aistore.sdk.types import JobSnap

BODIES = {f"p-{number:02}.bin": os.urandom(number * 9000) for number in range(20)}


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for name, body in BODIES.items():
        bucket.object(name).get_writer().put_content(body)
    return bucket


@pytest.fixture
def other(client: Client, bucket: Bucket) -> Iterator[Bucket]:
    other = client.bucket(f"{bucket.name}-to")
    yield other
    other.delete(missing_ok=True)


def ended(client: Client, job_id: str) -> list[JobSnap]:
    """Asked for twice a second: the SDK's own wait looks every five."""
    for _ in range(240):
        snaps: list[JobSnap] = client.job(job_id=job_id).get_details().list_snapshots()
        if snaps and all(snap.is_idle for snap in snaps):
            return snaps
        time.sleep(0.5)
    raise AssertionError(f"job {job_id} does not end")


def names(bucket: Bucket) -> list[str]:
    return [entry.name for entry in bucket.list_all_objects()]


@pytest.mark.parametrize("how", ["names", "template", "range"])
def test_a_group_is_deleted(client: Client, filled: Bucket, how: str) -> None:
    group = {
        "names": filled.objects(obj_names=[f"p-{number:02}.bin" for number in range(5, 15)]),
        "template": filled.objects(obj_template="p-{05..14}.bin"),
        "range": filled.objects(obj_template="p-{05..14..1}.bin"),
    }[how]
    job_id = group.delete()
    snaps = ended(client, job_id)
    assert sum(snap.stats.objects for snap in snaps if snap.stats) == 10
    assert {snap.kind for snap in snaps} == {"delete-listrange"}
    assert names(filled) == [*sorted(BODIES)[:5], *sorted(BODIES)[15:]]
    status = client.job(job_id=job_id).status()
    assert (status.uuid, status.err, status.aborted) == (job_id, "", False)
    assert status.end_time > 0
    assert client.job(job_id=job_id, job_kind="delete-listrange").wait(timeout=60).success


def test_a_group_is_copied_with_all_that_is_known_of_it(
    client: Client, filled: Bucket, other: Bucket
) -> None:
    job_ids = filled.objects(obj_template="p-{00..09}.bin").copy(other, prepend="x/")
    for job_id in job_ids:
        snaps = ended(client, job_id)
        assert not any(snap.aborted for snap in snaps)
    copied = {name: BODIES[name.removeprefix("x/")] for name in names(other)}
    assert list(copied) == [f"x/p-{number:02}.bin" for number in range(10)]
    for name, body in copied.items():
        assert other.object(name).get_reader().read_all() == body
    before, after = (
        bucket.object(name).props for bucket, name in ((filled, "p-03.bin"), (other, "x/p-03.bin"))
    )
    assert (before.checksum_value, before.size) == (after.checksum_value, after.size)
    assert names(filled) == sorted(BODIES)


def test_a_dry_run_counts_and_copies_nothing(client: Client, filled: Bucket, other: Bucket) -> None:
    other.create()
    (job_id,) = filled.objects(obj_template="p-{00..09}.bin").copy(other, dry_run=True)
    assert sum(snap.stats.objects for snap in ended(client, job_id) if snap.stats) == 10
    assert names(other) == []


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_listed_name_that_is_missing_is_an_error(
    client: Client, filled: Bucket, other: Bucket, keep_going: bool
) -> None:
    group = filled.objects(obj_names=["p-01.bin", "none", "p-02.bin"])
    (job_id,) = group.copy(other, continue_on_error=keep_going)
    snaps = ended(client, job_id)
    assert any(snap.aborted for snap in snaps) is not keep_going
    assert "none" in client.job(job_id=job_id).status().err
    if keep_going:
        assert names(other) == ["p-01.bin", "p-02.bin"]


def test_what_a_template_names_need_not_exist(client: Client, filled: Bucket) -> None:
    job_id = filled.objects(obj_template="p-{15..99}.bin").delete()
    snaps = ended(client, job_id)
    assert not any(snap.aborted for snap in snaps)
    assert names(filled) == sorted(BODIES)[:15]


def test_a_bucket_is_copied_and_told_by_its_job(client: Client, filled: Bucket, other: Bucket) -> None:
    began = datetime.now(UTC) - timedelta(seconds=5)
    job_id = filled.copy(other, prefix_filter="p-1", prepend="copy-of-")
    snaps = ended(client, job_id)
    assert names(other) == [f"copy-of-p-{number}.bin" for number in range(10, 20)]
    assert snaps[0].bucket is not None
    assert snaps[0].destination_bck is not None
    assert (snaps[0].bucket.name, snaps[0].destination_bck.name) == (filled.name, other.name)
    job = client.job(job_id=job_id, job_kind="copy-bck")
    assert job_id in {snap.id for snap in job.get_within_timeframe(began)}
    assert job.get_total_time() is not None
    assert job.wait(timeout=60).success


def test_workers_are_told(client: Client, filled: Bucket, other: Bucket) -> None:
    (job_id,) = filled.objects(obj_template="p-{00..02}.bin").copy(other, num_workers=3)
    ended(client, job_id)
    assert client.job(job_id=job_id).get_details().get_num_workers() == 3


def test_a_bucket_gets_another_name(client: Client, filled: Bucket, other: Bucket) -> None:
    job_id = filled.rename(other.name)
    assert client.job(job_id=job_id).wait(timeout=60).success
    renamed = client.bucket(other.name)
    assert names(renamed) == sorted(BODIES)
    assert renamed.object("p-07.bin").get_reader().read_all() == BODIES["p-07.bin"]
    with pytest.raises(AISError):
        client.bucket(other.name.removesuffix("-to")).head()
    client.bucket(other.name.removesuffix("-to")).create().delete()
    assert names(renamed) == sorted(BODIES)


def test_a_name_that_is_taken_is_refused(client: Client, filled: Bucket, other: Bucket) -> None:
    other.create()
    with pytest.raises(AISError) as raised:
        client.bucket(filled.name).rename(other.name)
    assert raised.value.status_code == 409


@pytest.mark.parametrize("archive_name", ["all.tar", "all.tgz", "all.zip", "all.tar.lz4"])
def test_a_group_becomes_an_archive(client: Client, filled: Bucket, archive_name: str) -> None:
    chosen = [f"p-{number:02}.bin" for number in (3, 1, 19, 0)]
    for job_id in filled.objects(obj_names=chosen).archive(archive_name):
        assert not any(snap.aborted for snap in ended(client, job_id))
    for job_id in filled.objects(obj_template="p-{05..06}.bin").archive(archive_name, allow_append=True):
        assert not any(snap.aborted for snap in ended(client, job_id))
    listed = {entry.name: entry.size for entry in filled.list_archive(archive_name)}
    expected = [*chosen, "p-05.bin", "p-06.bin"]
    assert listed == {f"{archive_name}/{name}": len(BODIES[name]) for name in expected}
    if archive_name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(filled.object(archive_name).get_reader().read_all())) as archive:
            assert archive.getnames() == expected


def test_an_archive_goes_to_another_bucket_with_the_names_of_theirs(
    client: Client, filled: Bucket, other: Bucket
) -> None:
    other.create()
    group = filled.objects(obj_names=["p-01.bin", "none", "p-02.bin"])
    for job_id in group.archive("a.tar", to_bck=other, include_source_name=True, continue_on_err=True):
        ended(client, job_id)
    listed = [entry.name for entry in other.list_archive("a.tar")]
    assert listed == [f"a.tar/{filled.name}/p-01.bin", f"a.tar/{filled.name}/p-02.bin"]
    for job_id in group.archive("b.tar", to_bck=other):
        assert any(snap.aborted for snap in ended(client, job_id))
    assert names(other) == ["a.tar"]


def test_long_lists_and_many_jobs_at_once(client: Client, filled: Bucket, other: Bucket) -> None:
    missing = [f"not/there/{number:06}" for number in range(20_000)]
    first = filled.objects(obj_names=[*missing, "p-01.bin"]).copy(other, continue_on_error=True)
    more = [filled.objects(obj_names=[name]).copy(other)[0] for name in sorted(BODIES)[2:12]]
    for job_id in [*first, *more]:
        ended(client, job_id)
    assert names(other) == sorted(BODIES)[1:12]


@pytest.mark.parametrize("kind", ["lru", "cleanup", "resilver", "rebalance"])
def test_upkeep_that_finds_nothing_to_do_ends(client: Client, kind: str) -> None:
    job_id = client.job(job_kind=kind).start()
    assert client.job(job_id=job_id).wait(timeout=60).success


def test_all_jobs_are_listed(client: Client, filled: Bucket) -> None:
    job_id = filled.objects(obj_template="p-{00..01}.bin").delete()
    ended(client, job_id)
    deletes = client.cluster().list_jobs_status(job_kind="delete-listrange")
    assert job_id in {job.uuid for job in deletes}
    assert all(job.end_time > 0 for job in deletes if job.uuid == job_id)
    assert client.cluster().list_jobs_status(job_kind="delete-listrange", target_id="none") == []
    assert not any(job_id in name for name in client.cluster().list_running_jobs())


def test_unknown_jobs_are_not_found(client: Client) -> None:
    with pytest.raises(AISError) as raised:
        client.job(job_id="no-such-job").status()
    assert raised.value.status_code == 404
    assert Job.get_details(client.job(job_kind="dsort")).list_snapshots() == []


def test_a_job_is_stopped(client: Client, filled: Bucket, other: Bucket) -> None:
    job_id = filled.objects(obj_names=[f"none-{number:05}" for number in range(50_000)]).copy(
        other, continue_on_error=True, num_workers=1
    )[0]
    client.job(job_id=job_id).abort()
    snaps = ended(client, job_id)
    assert any(snap.aborted for snap in snaps)
    client.job(job_id=job_id).abort()


@pytest.mark.parametrize(
    ("method", "action", "value", "status"),
    [
        ("DELETE", "delete-listrange", {}, 400),
        ("DELETE", "delete-listrange", {"template": "p-{1..a}"}, 400),
        ("DELETE", "delete-listrange", {"objnames": ["x"], "template": "p-{1..2}"}, 400),
        ("DELETE", "delete-listrange", {"objnames": [""]}, 400),
        ("POST", "copy-listrange", {"objnames": ["x"]}, 400),
        ("POST", "copy-bck", {}, 400),
        ("PUT", "archive", {"objnames": ["x"]}, 400),
        ("PUT", "archive", {"objnames": ["x"], "archname": "a.tar", "mime": ".rar"}, 400),
        (
            "PUT",
            "archive",
            {"objnames": ["x"], "archname": "a.tar", "tobck": {"name": "no-such-bucket"}},
            404,
        ),
    ],
)
def test_what_makes_no_sense_starts_no_job(
    endpoint: str, filled: Bucket, method: str, action: str, value: dict[str, Any], status: int
) -> None:
    url = f"{endpoint}/v1/buckets/{filled.name}"
    answer = requests.request(method, url, json={"action": action, "value": value}, timeout=60)
    assert answer.status_code == status, answer.text
    assert names(filled) == sorted(BODIES)
