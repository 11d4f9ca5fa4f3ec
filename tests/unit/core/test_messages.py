"""Nouns survive the way over the wire and back."""

from __future__ import annotations

import pytest

from shoal.bucket.v1 import bucket_pb2
from shoal.cluster.v1 import cluster_pb2
from shoal.common.v1 import common_pb2
from shoal.object.v1 import object_pb2
from shoal_core import messages
from shoal_core.cluster_map import ClusterMap, Member, MemberRole, MemberState, Mountpath
from shoal_core.errors import InvalidArgument, InvalidName
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    BucketId,
    BucketProperties,
    BucketReference,
    Checksum,
    ObjectInfo,
    Preconditions,
    Version,
)
from shoal_core.part_runs import PartRun

VERSION = Version(bytes(range(12)))
INFO = ObjectInfo(
    name="a/é?#",
    size=1 << 40,
    version=VERSION,
    sequence=3,
    etag="abc",
    checksum=Checksum("xxhash2", "00ff"),
    modified_ns=1_700_000_000_123_456_789,
    content_type="image/jpeg",
    metadata={"Colour": "blau"},
    location="t[t1]:mp1",
    chunk_count=10_000,
    chunk_bytes_max=5 << 20,
    parts=(PartRun(1, 9_999, 5 << 20), PartRun(10_000, 1, 7)),
)


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_time_survives_to_the_nanosecond(nanoseconds: int) -> None:
    assert messages.timestamp_from_message(messages.timestamp_to_message(nanoseconds)) == nanoseconds


def test_object_survives() -> None:
    assert messages.object_from_message(messages.object_to_message(INFO)) == INFO


@pytest.mark.parametrize("version", ["", "00", "x" * 24, "0" * 26])
def test_object_with_a_malformed_version_is_refused(version: str) -> None:
    with pytest.raises(InvalidArgument, match="24 hexadecimal digits"):
        messages.object_from_message(object_pb2.Object(name="a", version=version))


@pytest.mark.parametrize(
    "preconditions",
    [
        Preconditions(if_match=("a", "b")),
        Preconditions(if_none_match=("*",)),
        Preconditions(if_version=VERSION),
        Preconditions(if_modified_since_ns=0, if_unmodified_since_ns=5),
    ],
)
def test_preconditions_survive(preconditions: Preconditions) -> None:
    message = messages.preconditions_to_message(preconditions)
    assert messages.preconditions_from_message(message) == preconditions


def test_no_preconditions_are_the_constant() -> None:
    assert messages.preconditions_from_message(object_pb2.Preconditions()) is NO_PRECONDITIONS


@pytest.mark.parametrize(
    "properties",
    [
        BucketProperties(),
        BucketProperties(
            durability="os",
            verify="always",
            checksum_type="md5",
            versioning=True,
            s3_etag="fast",
            chunk_above_bytes=5,
            chunk_bytes=1 << 20,
        ),
    ],
)
def test_bucket_survives(properties: BucketProperties) -> None:
    reference = BucketReference("b", "ais", "#team")
    bucket = Bucket(reference, BucketId(b"12345678"), 7, 1_700_000_000_000_000_001, properties)
    assert messages.bucket_from_message(messages.bucket_to_message(bucket)) == bucket


def test_properties_that_are_not_sent_stay_as_they_were() -> None:
    base = BucketProperties(durability="os", checksum_type="md5", versioning=True)
    sent = bucket_pb2.BucketProperties(versioning=False)
    changed = messages.bucket_properties_from_message(sent, base=base)
    assert changed == BucketProperties(durability="os", checksum_type="md5", versioning=False)


def test_property_value_that_is_not_known_is_refused() -> None:
    sent = bucket_pb2.BucketProperties()
    sent.MergeFromString(bytes([bucket_pb2.BucketProperties.DURABILITY_FIELD_NUMBER << 3, 99]))
    with pytest.raises(InvalidArgument, match="durability 99 is not known"):
        messages.bucket_properties_from_message(sent)


@pytest.mark.parametrize(
    ("field", "size"), [("chunk_bytes", 5), ("chunk_bytes", 6 << 30), ("chunk_above_bytes", -1)]
)
def test_sizes_of_chunks_have_limits(field: str, size: int) -> None:
    sent = bucket_pb2.BucketProperties(**{field: size})  # type: ignore[arg-type]  # one of its names
    with pytest.raises(InvalidArgument, match=field):
        messages.bucket_properties_from_message(sent)


def test_bad_bucket_name_is_refused_at_the_edge() -> None:
    with pytest.raises(InvalidName):
        messages.bucket_reference_from_message(common_pb2.BucketReference(name="../b"))


def test_cluster_map_survives() -> None:
    target = Member(
        id="t1",
        role=MemberRole.TARGET,
        state=MemberState.MAINTENANCE,
        alive=True,
        public_address="127.0.0.1:1",
        internal_address="127.0.0.1:2",
        unix_socket="/run/t1",
        host_id="boot/1",
        weight=1.5,
        failure_domain="rack-1",
        mountpaths=(Mountpath("mp1", "/d1", 1 << 40), Mountpath("mp2", "/d2")),
    )
    gateway = Member("g1", MemberRole.GATEWAY, http_url="http://127.0.0.1:51080")
    cluster_map = ClusterMap("c1", 9, 2, (gateway, target), created_ns=5)
    there = messages.cluster_map_to_message(cluster_map)
    assert messages.cluster_map_from_message(there) == cluster_map


def test_every_role_and_state_has_a_number() -> None:
    assert set(messages.ROLES) == set(MemberRole)
    assert set(messages.STATES) == set(MemberState)
    assert set(messages.ROLES.values()) == set(cluster_pb2.MemberRole.values()) - {0}
    assert set(messages.STATES.values()) == set(cluster_pb2.MemberState.values()) - {0}
