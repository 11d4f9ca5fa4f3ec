"""The store as its specification: what every operation answers and leaves, in dictionaries and without a clock.

Each method raises what the store must raise and changes nothing then, or changes the model and says how the object (or
part, or page) must look. Etags, versions and times are the store's own choice: `learn` takes them over from its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from shoal_core.errors import (
    BucketNotFound,
    InvalidArgument,
    InvalidPart,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    UploadNotFound,
)
from shoal_core.multipart import PARTS_MAX, Completion, PartInfo, UploadQuery
from shoal_core.objects import (
    CHUNK_BYTES_DEFAULT,
    NO_PRECONDITIONS,
    Bucket,
    BucketId,
    BucketProperties,
    Checksum,
    ListQuery,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)
from shoal_core.part_runs import PartRun, runs_of
from support.memory_content import check_content, kept_checksum

INLINE_BYTES_MAX = 32 << 10
"""Bodies up to here are never chunked, whatever the bucket says."""
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Kept:
    """The current version of an object."""

    body: bytes
    sequence: int
    content_type: str
    metadata: dict[str, str]
    headers: dict[str, str]
    checksum: Checksum | None
    chunks: tuple[int, ...] = ()
    """Length of each chunk file; empty for a body that lies in the index."""
    parts: tuple[PartRun, ...] = ()
    upload: str = ""
    """That made it and whose files it still has."""
    etag: str = ""
    version: bytes = b""
    modified_ns: int = 0

    @property
    def chunk_count(self) -> int:
        return len(self.chunks) if len(self.chunks) > 1 or self.upload else 0


@dataclass
class Upload:
    """One that has begun, with its parts by number."""

    request: PutRequest
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    """Etag and bytes."""


@dataclass
class Contents:
    """Of one bucket."""

    objects: dict[str, Kept] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)


class Reference:
    """Every bucket and what it holds."""

    def __init__(self) -> None:
        self._buckets: dict[BucketId, Contents] = {}

    # Buckets

    def add_bucket(self, bucket: Bucket) -> None:
        self._buckets[bucket.id] = Contents()

    def remove_bucket(self, bucket: Bucket) -> None:
        del self._buckets[bucket.id]

    def names(self, bucket: Bucket) -> list[str]:
        """In the order of their UTF-8 bytes, which is that of every listing."""
        return sorted(self._contents(bucket).objects, key=str.encode)

    def current(self, bucket: Bucket, name: str) -> Kept | None:
        return self._contents(bucket).objects.get(name)

    def upload(self, bucket: Bucket, upload_id: str) -> Upload | None:
        return self._contents(bucket).uploads.get(upload_id)

    # Whole objects

    def put(self, bucket: Bucket, request: PutRequest, body: bytes) -> Kept:
        check_content(request, body)
        chunks = chunk_lengths(bucket.properties, len(body), announced=request.size is not None)
        kept = Kept(
            body,
            0,
            request.content_type,
            dict(request.metadata),
            dict(request.headers),
            kept_checksum(bucket, body),
            chunks if len(body) > INLINE_BYTES_MAX else (),
        )
        return self._replace(bucket, request.name, kept, request.preconditions)

    def read(
        self, bucket: Bucket, name: str, wanted: RangeRequest | None, conditions: Preconditions
    ) -> tuple[Kept, bytes]:
        kept = self.head(bucket, name, conditions)
        if wanted is None:
            return kept, kept.body
        if (resolved := wanted.resolve(len(kept.body))) is None:
            raise RangeNotSatisfiable(name)
        return kept, kept.body[resolved.offset :][: resolved.length]

    def head(self, bucket: Bucket, name: str, conditions: Preconditions = NO_PRECONDITIONS) -> Kept:
        kept = self._existing(bucket, name)
        check_conditions(conditions, kept, reading=True)
        return kept

    def delete(self, bucket: Bucket, name: str, conditions: Preconditions) -> Kept:
        """Conditions come first: one that names an object fails where there is none."""
        check_conditions(conditions, self.current(bucket, name), reading=False)
        kept = self._existing(bucket, name)
        del self._contents(bucket).objects[name]
        return kept

    def learn(self, bucket: Bucket, name: str, info: ObjectInfo) -> None:
        """What the store chose for the version that was just written."""
        objects = self._contents(bucket).objects
        objects[name] = replace(
            objects[name], etag=info.etag, version=info.version, modified_ns=info.modified_ns
        )

    def page(self, bucket: Bucket, query: ListQuery) -> tuple[list[str], list[str], bool]:
        """Names, common prefixes, and whether more follow."""
        shown: dict[str, bool] = {}
        for name in self.names(bucket):
            if name.startswith(query.prefix):
                key = folded(name, query)
                shown[key] = shown.get(key, False) or is_folded(name, query)
        after = [key for key in shown if key.encode() > query.start_after.encode()]
        after.sort(key=str.encode)
        page = after[: query.limit]
        return (
            [key for key in page if not shown[key]],
            [key for key in page if shown[key]],
            len(after) > len(page),
        )

    def rechunk(self, bucket: Bucket, properties: BucketProperties) -> None:
        """Every object gets the form that it would have if it came today; nothing else of it changes."""
        objects = self._contents(bucket).objects
        for name, kept in objects.items():
            lengths = chunk_lengths(properties, len(kept.body), announced=True)
            has_form = kept.chunks == lengths and bool(kept.chunk_count) == (len(lengths) > 1)
            if kept.chunks and not has_form:
                objects[name] = replace(kept, chunks=lengths, upload="")

    # Uploads in parts

    def begin_upload(self, bucket: Bucket, request: PutRequest, upload_id: str) -> None:
        self._contents(bucket).uploads[upload_id] = Upload(request)

    def put_part(self, bucket: Bucket, upload_id: str, number: int, request: PutRequest, body: bytes) -> None:
        if not 1 <= number <= PARTS_MAX:
            raise InvalidArgument(f"part number {number}")
        self.upload_of(bucket, request.name, upload_id)
        check_content(request, body)

    def learn_part(self, bucket: Bucket, upload_id: str, part: PartInfo, body: bytes) -> None:
        """The last writing of a number counts."""
        self._contents(bucket).uploads[upload_id].parts[part.number] = part.etag, body

    def complete(self, bucket: Bucket, name: str, upload_id: str, completion: Completion) -> Kept:
        kept = self._contents(bucket).objects.get(name)
        if kept is not None and kept.upload == upload_id:
            return kept
        upload = self.upload_of(bucket, name, upload_id)
        bodies = chosen_bodies(upload, completion)
        numbers = [choice.number for choice in completion.parts]
        made = Kept(
            b"".join(bodies),
            0,
            upload.request.content_type,
            dict(upload.request.metadata),
            {**upload.request.headers, **completion.headers},
            None,
            tuple(map(len, bodies)),
            runs_of(zip(numbers, map(len, bodies), strict=True)),
            upload_id,
        )
        made = self._replace(bucket, name, made, completion.preconditions)
        del self._contents(bucket).uploads[upload_id]
        return made

    def abort(self, bucket: Bucket, name: str, upload_id: str) -> None:
        self.upload_of(bucket, name, upload_id)
        del self._contents(bucket).uploads[upload_id]

    def list_uploads(self, bucket: Bucket, query: UploadQuery) -> tuple[list[tuple[str, str]], bool]:
        """(name, id) of each, and whether more follow."""
        after = (query.after_name.encode(), query.after_id or "~")
        found = sorted(
            (upload.request.name.encode(), id)
            for id, upload in self._contents(bucket).uploads.items()
            if upload.request.name.startswith(query.prefix)
        )
        found = [pair for pair in found if pair > after]
        return [(name.decode(), id) for name, id in found[: query.limit]], len(found) > query.limit

    def upload_of(self, bucket: Bucket, name: str, upload_id: str) -> Upload:
        upload = self._contents(bucket).uploads.get(upload_id)
        if upload is None or upload.request.name != name:
            raise UploadNotFound(upload_id)
        return upload

    def _contents(self, bucket: Bucket) -> Contents:
        if bucket.id not in self._buckets:
            raise BucketNotFound(str(bucket.reference))
        return self._buckets[bucket.id]

    def _existing(self, bucket: Bucket, name: str) -> Kept:
        kept = self._contents(bucket).objects.get(name)
        if kept is None:
            raise ObjectNotFound(name)
        return kept

    def _replace(self, bucket: Bucket, name: str, kept: Kept, conditions: Preconditions) -> Kept:
        before = self._contents(bucket).objects.get(name)
        check_conditions(conditions, before, reading=False)
        kept = replace(kept, sequence=before.sequence + 1 if before else 1)
        self._contents(bucket).objects[name] = kept
        return kept


def chunk_lengths(properties: BucketProperties, size: int, *, announced: bool) -> tuple[int, ...]:
    """Of a body that is too long for the index; one of unknown length is cut as if it were long."""
    above, length = properties.chunk_above_bytes, properties.chunk_bytes or CHUNK_BYTES_DEFAULT
    if not above or (announced and size <= above) or size <= length:
        return (size,)
    whole, rest = divmod(size, length)
    return (length,) * whole + (rest,) * (rest > 0)


def chosen_bodies(upload: Upload, completion: Completion) -> list[bytes]:
    numbers = [choice.number for choice in completion.parts]
    if not numbers:
        raise InvalidPart("no part")
    if any(one >= following for one, following in pairwise(numbers)):
        raise InvalidArgument("not in order")
    if any(upload.parts.get(choice.number, ("", b""))[0] != choice.etag for choice in completion.parts):
        raise InvalidPart("another part, or none")
    return [upload.parts[number][1] for number in numbers]


def check_conditions(conditions: Preconditions, kept: Kept | None, *, reading: bool) -> None:
    """In the order of RFC 9110, section 13.2.2. A time is compared in whole seconds and only with what exists."""
    modified = kept.modified_ns // SECOND if kept else None
    unmodified_since, modified_since = conditions.if_unmodified_since_ns, conditions.if_modified_since_ns
    if conditions.if_match:
        if not named_by(conditions.if_match, kept):
            raise PreconditionFailed("if_match")
    elif modified is not None and unmodified_since is not None and modified > unmodified_since // SECOND:
        raise PreconditionFailed("if_unmodified_since")
    if conditions.if_version is not None and (kept is None or kept.version != conditions.if_version):
        raise PreconditionFailed("if_version")
    if conditions.if_none_match:
        if named_by(conditions.if_none_match, kept):
            raise NotModified("if_none_match") if reading else PreconditionFailed("if_none_match")
        return
    is_old = modified is not None and modified_since is not None and modified <= modified_since // SECOND
    if reading and is_old:
        raise NotModified("if_modified_since")


def named_by(etags: Sequence[str], kept: Kept | None) -> bool:
    return kept is not None and ("*" in etags or kept.etag in etags)


def is_folded(name: str, query: ListQuery) -> bool:
    return bool(query.delimiter) and query.delimiter in name[len(query.prefix) :]


def folded(name: str, query: ListQuery) -> str:
    """As a listing shows it: itself, or the common prefix that it is shown under."""
    if not is_folded(name, query):
        return name
    return name[: name.index(query.delimiter, len(query.prefix)) + len(query.delimiter)]
