"""A bucket that a caller was let into is remembered until anything about buckets changes, and for that caller alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR, NO_PERMISSIONS, Permission, Principal
from shoal_core.errors import PermissionDenied
from shoal_core.objects import Bucket, BucketProperties, BucketReference
from shoal_gateway.lane.admitted import REPEATED, Admitted
from support.memory_buckets import MemoryBuckets

REFERENCE = BucketReference("lane")


class AskedBuckets(MemoryBuckets):
    """Knows how often it was asked, and may have to be asked each time."""

    asked = 0
    is_fresh = True

    def known(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket | None:
        self.asked += 1
        found = super().known(reference, permission=permission, principal=principal)
        return found if self.is_fresh else None

    def state(self) -> object | None:
        return super().state() if self.is_fresh else None


@pytest.fixture
async def buckets() -> AskedBuckets:
    made = AskedBuckets()
    await made.create(REFERENCE)
    return made


def test_a_bucket_is_looked_for_once(buckets: AskedBuckets) -> None:
    admitted = Admitted(buckets, Permission.GET)
    found = {admitted.bucket(b"lane", LOCAL_ADMINISTRATOR) for _ in range(3)}
    assert [bucket and bucket.reference for bucket in found] == [REFERENCE]
    assert buckets.asked == 1


async def test_a_bucket_that_was_destroyed_is_not_known_and_one_made_anew_is_another(
    buckets: AskedBuckets,
) -> None:
    admitted = Admitted(buckets, Permission.GET)
    before = admitted.bucket(b"lane", LOCAL_ADMINISTRATOR)
    await buckets.delete(REFERENCE)
    assert admitted.bucket(b"lane", LOCAL_ADMINISTRATOR) is None
    anew = await buckets.create(REFERENCE)
    assert admitted.bucket(b"lane", LOCAL_ADMINISTRATOR) == anew != before


async def test_a_bucket_whose_properties_changed_has_the_new_ones(buckets: AskedBuckets) -> None:
    admitted = Admitted(buckets, Permission.GET)
    admitted.bucket(b"lane", LOCAL_ADMINISTRATOR)
    await buckets.update(REFERENCE, BucketProperties(verify="always"))
    found = admitted.bucket(b"lane", LOCAL_ADMINISTRATOR)
    assert found is not None
    assert found.properties.verify == "always"


def test_what_one_caller_may_do_says_nothing_of_another(buckets: AskedBuckets) -> None:
    admitted = Admitted(buckets, Permission.GET)
    assert admitted.bucket(b"lane", LOCAL_ADMINISTRATOR) is not None
    withdrawn = replace(LOCAL_ADMINISTRATOR, permissions=NO_PERMISSIONS)
    for _ in range(2):
        with pytest.raises(PermissionDenied):
            admitted.bucket(b"lane", withdrawn)


def test_a_process_that_stood_still_remembers_nothing(buckets: AskedBuckets) -> None:
    admitted = Admitted(buckets, Permission.GET)
    assert admitted.bucket(b"lane", LOCAL_ADMINISTRATOR) is not None
    buckets.is_fresh = False
    assert admitted.bucket(b"lane", LOCAL_ADMINISTRATOR) is None
    buckets.is_fresh = True
    assert admitted.bucket(b"lane", LOCAL_ADMINISTRATOR) is not None
    assert buckets.asked == 3


@pytest.mark.parametrize("query", [b"", b"?provider=ais"])
def test_reads_that_differ_in_the_name_alone_have_all_else_in_common(query: bytes) -> None:
    rest = query + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    match = REPEATED.fullmatch(b"GET /v1/objects/lane/a/b" + rest)
    assert match is not None
    assert match.groups() == (b"GET /v1/objects/lane/", b"a/b", rest)


@pytest.mark.parametrize("target", [b"a?provider=aws", b"a?provider=ais&archpath=x", b"a%20b", b""])
def test_reads_that_mean_more_than_a_name_are_judged_as_a_whole(target: bytes) -> None:
    request = b"GET /v1/objects/lane/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target
    assert REPEATED.fullmatch(request) is None
