"""Between the protobuf messages of the contract and the nouns of the code; nothing else knows both."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from shoal.bucket.v1 import bucket_pb2
from shoal.cluster.v1 import cluster_pb2
from shoal.common.v1 import common_pb2
from shoal.object.v1 import object_pb2, upload_pb2
from shoal_core.cluster_map import ClusterMap, Member, MemberRole, MemberState, Mountpath
from shoal_core.errors import InvalidArgument
from shoal_core.multipart import PartInfo, UploadInfo
from shoal_core.names import checked_reference
from shoal_core.objects import (
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    NO_PRECONDITIONS,
    Bucket,
    BucketId,
    BucketProperties,
    BucketReference,
    Checksum,
    Description,
    ObjectInfo,
    Preconditions,
    Version,
)
from shoal_core.part_runs import PartRun

K = TypeVar("K")
V = TypeVar("V")

VERSION_BYTES = 12
NANOSECONDS = 1_000_000_000

DEFAULT_PROPERTIES = BucketProperties()
DURABILITIES = {bucket_pb2.DURABILITY_FSYNC: "fsync", bucket_pb2.DURABILITY_OS: "os"}
VERIFICATIONS = {bucket_pb2.VERIFICATION_WINDOW: "window", bucket_pb2.VERIFICATION_ALWAYS: "always"}
SIZE_MAX = (1 << 63) - 1
S3_ETAGS = {bucket_pb2.S3_ETAG_MD5: "md5", bucket_pb2.S3_ETAG_FAST: "fast"}
ROLES = {
    MemberRole.PROXY: cluster_pb2.MEMBER_ROLE_PROXY,
    MemberRole.TARGET: cluster_pb2.MEMBER_ROLE_TARGET,
    MemberRole.GATEWAY: cluster_pb2.MEMBER_ROLE_GATEWAY,
}
STATES = {
    MemberState.ACTIVE: cluster_pb2.MEMBER_STATE_ACTIVE,
    MemberState.MAINTENANCE: cluster_pb2.MEMBER_STATE_MAINTENANCE,
    MemberState.DECOMMISSION: cluster_pb2.MEMBER_STATE_DECOMMISSION,
}


def timestamp_to_message(nanoseconds: int) -> Timestamp:
    return Timestamp(seconds=nanoseconds // NANOSECONDS, nanos=nanoseconds % NANOSECONDS)


def timestamp_from_message(message: Timestamp) -> int:
    return message.seconds * NANOSECONDS + message.nanos


def bucket_reference_to_message(reference: BucketReference) -> common_pb2.BucketReference:
    return common_pb2.BucketReference(
        name=reference.name, provider=reference.provider, namespace=reference.namespace
    )


def bucket_reference_from_message(message: common_pb2.BucketReference) -> BucketReference:
    """Raises InvalidName."""
    return checked_reference(message.name, provider=message.provider, namespace=message.namespace)


def checksum_to_message(checksum: Checksum) -> common_pb2.Checksum:
    return common_pb2.Checksum(type=checksum.type, value=checksum.value)


def checksum_from_message(message: common_pb2.Checksum) -> Checksum:
    return Checksum(message.type, message.value)


def bucket_properties_to_message(properties: BucketProperties) -> bucket_pb2.BucketProperties:
    return bucket_pb2.BucketProperties(
        durability=key_of(DURABILITIES, properties.durability),
        verification=key_of(VERIFICATIONS, properties.verify),
        checksum_type=properties.checksum_type,
        versioning=properties.versioning,
        s3_etag=key_of(S3_ETAGS, properties.s3_etag),
        chunk_above_bytes=properties.chunk_above_bytes,
        chunk_bytes=properties.chunk_bytes,
    )


def bucket_properties_from_message(
    message: bucket_pb2.BucketProperties, *, base: BucketProperties = DEFAULT_PROPERTIES
) -> BucketProperties:
    """`base` with what the message sets. Raises InvalidArgument for an unknown value."""
    return BucketProperties(
        durability=known(DURABILITIES, message.durability, base.durability, "durability"),
        verify=known(VERIFICATIONS, message.verification, base.verify, "verification"),
        checksum_type=message.checksum_type or base.checksum_type,
        versioning=message.versioning if message.HasField("versioning") else base.versioning,
        s3_etag=known(S3_ETAGS, message.s3_etag, base.s3_etag, "s3_etag"),
        chunk_above_bytes=known_size(message, "chunk_above_bytes", base.chunk_above_bytes, 0, SIZE_MAX),
        chunk_bytes=known_size(message, "chunk_bytes", base.chunk_bytes, CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
    )


def known_size(
    message: bucket_pb2.BucketProperties, field: str, base: int, smallest: int, largest: int
) -> int:
    """The field if it is set; 0 is always allowed and means the default. Raises InvalidArgument."""
    if not message.HasField(field):  # type: ignore[arg-type]  # one of its names
        return base
    size: int = getattr(message, field)
    if size and not smallest <= size <= largest:
        raise InvalidArgument(
            f"{field} is {size}: use {smallest} to {largest}, or 0 for the default", field=field
        )
    return size


def bucket_to_message(bucket: Bucket) -> bucket_pb2.Bucket:
    return bucket_pb2.Bucket(
        reference=bucket_reference_to_message(bucket.reference),
        id=bucket.id,
        generation=bucket.generation,
        create_time=timestamp_to_message(bucket.created_ns),
        properties=bucket_properties_to_message(bucket.properties),
    )


def bucket_from_message(message: bucket_pb2.Bucket) -> Bucket:
    return Bucket(
        reference=bucket_reference_from_message(message.reference),
        id=BucketId(message.id),
        generation=message.generation,
        created_ns=timestamp_from_message(message.create_time),
        properties=bucket_properties_from_message(message.properties),
    )


def object_to_message(info: ObjectInfo) -> object_pb2.Object:
    return object_pb2.Object(
        name=info.name,
        size=info.size,
        version=info.version.hex(),
        sequence=info.sequence,
        etag=info.etag,
        checksum=None if info.checksum is None else checksum_to_message(info.checksum),
        update_time=timestamp_to_message(info.modified_ns),
        content_type=info.content_type,
        metadata=info.metadata,
        location=info.location,
        headers=info.headers,
        chunk_count=info.chunk_count,
        chunk_bytes_max=info.chunk_bytes_max,
        parts=[object_pb2.PartRun(first=run.first, count=run.count, size=run.size) for run in info.parts],
    )


def object_from_message(message: object_pb2.Object) -> ObjectInfo:
    return ObjectInfo(
        name=message.name,
        size=message.size,
        version=version_from_text(message.version),
        sequence=message.sequence,
        etag=message.etag,
        checksum=checksum_from_message(message.checksum) if message.HasField("checksum") else None,
        modified_ns=timestamp_from_message(message.update_time),
        content_type=message.content_type,
        metadata=dict(message.metadata),
        location=message.location,
        headers=dict(message.headers),
        chunk_count=message.chunk_count,
        chunk_bytes_max=message.chunk_bytes_max,
        parts=tuple(PartRun(run.first, run.count, run.size) for run in message.parts),
    )


def description_to_message(description: Description | None) -> object_pb2.Description | None:
    if description is None:
        return None
    return object_pb2.Description(
        content_type=description.content_type, metadata=description.metadata, headers=description.headers
    )


def upload_to_message(upload: UploadInfo) -> upload_pb2.Upload:
    return upload_pb2.Upload(
        id=upload.id,
        name=upload.name,
        create_time=timestamp_to_message(upload.created_ns),
        content_type=upload.content_type,
        metadata=upload.metadata,
        headers=upload.headers,
    )


def upload_from_message(message: upload_pb2.Upload) -> UploadInfo:
    return UploadInfo(
        id=message.id,
        name=message.name,
        created_ns=timestamp_from_message(message.create_time),
        content_type=message.content_type,
        metadata=dict(message.metadata),
        headers=dict(message.headers),
    )


def part_to_message(part: PartInfo) -> upload_pb2.Part:
    return upload_pb2.Part(
        number=part.number,
        size=part.size,
        etag=part.etag,
        update_time=timestamp_to_message(part.modified_ns),
        headers=part.headers,
    )


def part_from_message(message: upload_pb2.Part) -> PartInfo:
    return PartInfo(
        number=message.number,
        size=message.size,
        etag=message.etag,
        modified_ns=timestamp_from_message(message.update_time),
        headers=dict(message.headers),
    )


def preconditions_to_message(preconditions: Preconditions) -> object_pb2.Preconditions:
    message = object_pb2.Preconditions(
        if_match=preconditions.if_match, if_none_match=preconditions.if_none_match
    )
    if preconditions.if_version is not None:
        message.if_version = preconditions.if_version.hex()
    if preconditions.if_modified_since_ns is not None:
        message.if_modified_since.CopyFrom(timestamp_to_message(preconditions.if_modified_since_ns))
    if preconditions.if_unmodified_since_ns is not None:
        message.if_unmodified_since.CopyFrom(timestamp_to_message(preconditions.if_unmodified_since_ns))
    return message


def preconditions_from_message(message: object_pb2.Preconditions) -> Preconditions:
    """Raises InvalidArgument for a version that is none."""
    modified = timestamp_from_message(message.if_modified_since)
    unmodified = timestamp_from_message(message.if_unmodified_since)
    found = Preconditions(
        if_match=tuple(message.if_match),
        if_none_match=tuple(message.if_none_match),
        if_version=version_from_text(message.if_version) if message.HasField("if_version") else None,
        if_modified_since_ns=modified if message.HasField("if_modified_since") else None,
        if_unmodified_since_ns=unmodified if message.HasField("if_unmodified_since") else None,
    )
    return NO_PRECONDITIONS if found == NO_PRECONDITIONS else found


def member_to_message(member: Member) -> cluster_pb2.Member:
    return cluster_pb2.Member(
        id=member.id,
        role=ROLES[member.role],
        state=STATES[member.state],
        alive=member.alive,
        public_address=member.public_address,
        internal_address=member.internal_address,
        http_url=member.http_url,
        unix_socket=member.unix_socket,
        host_id=member.host_id,
        weight=member.weight,
        failure_domain=member.failure_domain,
        mountpaths=[
            cluster_pb2.Mountpath(id=each.id, path=each.path, capacity_bytes=each.capacity_bytes)
            for each in member.mountpaths
        ],
    )


def member_state_from_message(number: cluster_pb2.MemberState.ValueType) -> MemberState:
    """Raises InvalidArgument."""
    return known({number: state for state, number in STATES.items()}, number, None, "state")


def member_from_message(message: cluster_pb2.Member) -> Member:
    return Member(
        id=message.id,
        role=known({number: role for role, number in ROLES.items()}, message.role, None, "role"),
        state=member_state_from_message(message.state),
        alive=message.alive,
        public_address=message.public_address,
        internal_address=message.internal_address,
        http_url=message.http_url,
        unix_socket=message.unix_socket,
        host_id=message.host_id,
        weight=message.weight,
        failure_domain=message.failure_domain,
        mountpaths=tuple(Mountpath(each.id, each.path, each.capacity_bytes) for each in message.mountpaths),
    )


def cluster_map_to_message(cluster_map: ClusterMap) -> cluster_pb2.ClusterMap:
    return cluster_pb2.ClusterMap(
        cluster_id=cluster_map.cluster_id,
        revision=cluster_map.revision,
        placement_epoch=cluster_map.placement_epoch,
        members=[member_to_message(member) for member in cluster_map.members],
        create_time=timestamp_to_message(cluster_map.created_ns),
    )


def cluster_map_from_message(message: cluster_pb2.ClusterMap) -> ClusterMap:
    return ClusterMap(
        cluster_id=message.cluster_id,
        revision=message.revision,
        placement_epoch=message.placement_epoch,
        members=tuple(member_from_message(member) for member in message.members),
        created_ns=timestamp_from_message(message.create_time),
    )


def version_from_text(text: str) -> Version:
    try:
        version = bytes.fromhex(text)
    except ValueError:
        version = b""
    if len(version) != VERSION_BYTES:
        raise InvalidArgument(
            f"version {text[:40]!r} is not one: 24 hexadecimal digits, as a record shows it"
        )
    return Version(version)


def key_of(table: dict[K, V], value: V) -> K:
    return next(key for key, each in table.items() if each == value)


def known(table: dict[K, V], key: K, default: V | None, field: str) -> V:
    """The value of an enum number; 0 stands for `default`."""
    if key in table:
        return table[key]
    if not key and default is not None:
        return default
    raise InvalidArgument(f"{field} {key} is not known", field=field)
