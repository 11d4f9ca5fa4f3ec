"""The nouns of the data path, and `ObjectStore`, the interface that every way to an object implements.

`LocalObjectStore` (same host, `shoal_store`), `RemoteObjectStore` (gRPC) and `RoutedObjectStore`
(placement decides which of the two) all pass the same contract suite, `tests/contract/object_store.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NewType, Protocol, TypeAlias

import msgspec

from shoal_core.part_runs import PartRun

BucketId = NewType("BucketId", bytes)
"""8 random bytes given at creation; a bucket created anew under an old name has another id."""

Version = NewType("Version", bytes)
"""12 bytes, ordered: hybrid logical clock (8, big-endian; milliseconds << 16 | counter) and node number (4)."""

BodyBytes: TypeAlias = bytes | bytearray
"""Of a body, as they were read; nobody changes them."""

OBJECT_NAME_BYTES_MAX = 1024
CHUNK_BYTES_DEFAULT = 1 << 30
CHUNK_BYTES_MIN = 1 << 20
CHUNK_BYTES_MAX = 5 << 30
CHUNKS_MAX = 10_000
"""Of one object; chunks grow beyond what the bucket says where there would be more."""
FRAME_BYTES = 1 << 20
"""Size of one body frame on gRPC streams and between coroutines."""


@dataclass(frozen=True, slots=True)
class BucketReference:
    """The identity that users write: provider (`ais`, later `aws` ...), namespace ("" is global), name."""

    name: str
    provider: str = "ais"
    namespace: str = ""

    def __str__(self) -> str:
        space = f"{self.namespace}/" if self.namespace else ""
        return f"{self.provider}://{space}{self.name}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as the data path needs it."""

    reference: BucketReference
    id: BucketId
    generation: int
    """Grows with every change of the bucket's record (etcd revision of the last change)."""
    created_ns: int
    properties: BucketProperties


@dataclass(frozen=True, slots=True)
class BucketProperties:
    """What an owner may set on a bucket. Later issues add fields; readers ignore what they do not know."""

    durability: str = "fsync"
    """`fsync`: acknowledged bytes survive power loss. `os`: chunk data may be lost with the operating system."""
    verify: str = "window"
    """`window`: a chunk verified in the last 24 h is served without reading it again. `always`: never."""
    checksum_type: str = "xxhash2"
    """Checksum kept for clients of the AIStore API: `xxhash2` (XXH64), `crc32c`, `md5`, `sha256`, `sha512`, `none`."""
    versioning: bool = False
    chunk_above_bytes: int = 0
    """Objects of more bytes are stored in chunks; 0: only those that came in parts. An object whose size is not told in
    advance is stored in chunks whenever it fills more than one."""
    chunk_bytes: int = 0
    """Of each chunk; 0 means CHUNK_BYTES_DEFAULT."""
    s3_etag: str = "md5"
    """Of what comes through S3: `md5`, or `fast` for `<XXH3-64>-1`, which costs a fraction of it."""


class Checksum(msgspec.Struct, frozen=True, gc=False):
    """`type` as in `BucketProperties.checksum_type`; `value` lower-case hexadecimal."""

    type: str
    value: str


class ObjectInfo(msgspec.Struct, frozen=True, gc=False):
    """Everything known of one version of an object, without its bytes. Listings make thousands at a time, hence no
    dataclass: a frozen one takes eight times as long to make; and out of sight of the garbage collector, which
    would look at all of them every 700: nothing that it holds can lead back to it."""

    name: str
    size: int
    """Bytes."""
    version: Version
    sequence: int
    """1 for the first write of a name, then one more with each overwrite; AIStore shows it as the version."""
    etag: str
    """Without quotes; opaque."""
    checksum: Checksum | None
    modified_ns: int
    """Nanoseconds since 1970, as the committing target's clock had it."""
    content_type: str
    metadata: Mapping[str, str]
    """The user's own pairs."""
    location: str = ""
    """Target and mountpath that hold the record, as `t[<target id>]:<mountpath id>`."""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """HTTP headers that belong to the content and go back with it, lower-case: `content-encoding`, `cache-control`,
    `x-amz-checksum-crc32` ..."""
    parts: tuple[PartRun, ...] = ()
    """Of an object that came in parts, where each lies; empty for others."""
    chunk_count: int = 0
    """Of an object that is stored in chunks; 0 when it is stored whole."""
    chunk_bytes_max: int = 0
    """Of the largest of them; 0 in listings, which do not look."""


@dataclass(frozen=True, slots=True)
class Preconditions:
    """All given conditions must hold. Etags without quotes; `*` means "any existing object"."""

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_version: Version | None = None
    if_modified_since_ns: int | None = None
    if_unmodified_since_ns: int | None = None


NO_PRECONDITIONS = Preconditions()


class PutRequest(msgspec.Struct, frozen=True):
    """What a writer says of an object beside its bytes. No dataclass: a frozen one takes 2 µs of each small write."""

    name: str
    size: int | None = None
    """Announced length in bytes; None when unknown. Any difference to the body fails the write."""
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    checksums: tuple[Checksum, ...] = ()
    """The client's checksums of the whole body; each is verified before the object becomes visible."""
    etag: str | None = None
    """None: the store gives one from the content."""
    preconditions: Preconditions = NO_PRECONDITIONS
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """As in `ObjectInfo.headers`."""
    md5_etag: bool = False
    """The etag that the store gives is for S3's clients: the MD5 of the content, unless the bucket has
    `s3_etag: fast`."""
    late_headers: Callable[[], Mapping[str, str]] = dict
    """More `headers`, asked for when the body has ended: what only its trailers told."""


@dataclass(frozen=True, slots=True)
class Description:
    """What belongs to an object beside its bytes, and may be given anew with a copy."""

    content_type: str
    metadata: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """Which object is copied, and under which name."""

    source: Bucket
    source_name: str
    name: str
    description: Description | None = None
    """None: the source's."""
    preconditions: Preconditions = NO_PRECONDITIONS
    """On what the copy replaces."""
    source_preconditions: Preconditions = NO_PRECONDITIONS


@dataclass(frozen=True, slots=True)
class ByteRange:
    """First byte and number of bytes; resolved against the size, so never empty and never past the end."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A range as asked for: `bytes=a-b` (first, last), `bytes=a-` (first, None), `bytes=-n` (None, n)."""

    first: int | None
    last: int | None

    def resolve(self, size: int) -> ByteRange | None:
        """The bytes of an object of `size` bytes; None when there are none (HTTP 416)."""
        if self.first is None:
            length = min(self.last or 0, size)
            return ByteRange(size - length, length) if length else None
        if self.first >= size:
            return None
        last = size - 1 if self.last is None else min(self.last, size - 1)
        return ByteRange(self.first, last - self.first + 1)


Detail = Literal["size", "etag", "all"]
"""Names and sizes; the etag and when it was written too, as S3 lists them; everything."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One page of names, in the order of their UTF-8 bytes."""

    prefix: str = ""
    delimiter: str = ""
    start_after: str = ""
    """Names (and common prefixes) strictly after this one; also the continuation token's content."""
    limit: int = 1000
    """Names plus common prefixes in the page."""
    detail: Detail = "all"
    """What of the entries is wanted; a store may leave everything else of them empty."""
    target: str = ""
    """Of a whole cluster: only what this target has."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """`entries` and `prefixes` are each sorted; `next_after` is "" on the last page."""

    entries: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...]
    next_after: str


class ObjectBody(Protocol):
    """An open version of an object. Bytes are verified before they leave; close it whatever happens."""

    info: ObjectInfo
    range: ByteRange | None
    """The bytes that `chunks` yields; None means the whole object."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Pieces of at most FRAME_BYTES. Raises DataCorrupt rather than yield a byte that fails its checksum."""
        ...

    async def close(self) -> None: ...


class ObjectStore(Protocol):
    """One way to objects. Every method raises the errors of `shoal_core.errors` and nothing else."""

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        """Write one version. Durable as the bucket says once this returns; no trace when it raises."""
        ...

    async def open(
        self,
        bucket: Bucket,
        name: str,
        *,
        range: RangeRequest | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectBody:
        """The current version. Raises ObjectNotFound, PreconditionFailed, NotModified, RangeNotSatisfiable."""
        ...

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo: ...

    async def delete(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        """Remove the current version and say what it was. Raises ObjectNotFound when there is none."""
        ...

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage: ...

    async def copy(self, bucket: Bucket, request: CopyRequest) -> ObjectInfo:
        """Make an object of `bucket` with the bytes and the etag that the source has now. Where both have one owner, no
        byte is copied. Raises as `open` of the source and as `put`."""
        ...

    async def annotate(
        self,
        bucket: Bucket,
        name: str,
        metadata: Mapping[str, str],
        *,
        replace: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectInfo:
        """Add these pairs to the object's metadata, or put them in place of it. The version stays as it is."""
        ...
