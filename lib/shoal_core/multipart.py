"""Multipart uploads: an object that arrives in parts, in any order, over any time, and becomes visible at once.

`MultipartStore` is what every way to objects (see `shoal_core.objects`) also implements.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    ObjectInfo,
    ObjectStore,
    Preconditions,
    PutRequest,
)

PARTS_MAX = 10_000
MD5_HEX = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """A multipart upload that has begun and is neither complete nor aborted; nobody can read its parts."""

    id: str
    """32 hexadecimal digits."""
    name: str
    """Of the object that it will be."""
    created_ns: int
    content_type: str
    metadata: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part of an upload."""

    number: int
    """1 to 10,000; gives the order."""
    size: int
    etag: str
    """Without quotes: the MD5 of the part's bytes if asked for with `md5_etag`."""
    modified_ns: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartChoice:
    """A part as the one who completes an upload names it."""

    number: int
    etag: str


@dataclass(frozen=True, slots=True)
class Completion:
    """How an upload becomes an object."""

    parts: Sequence[PartChoice]
    """Ascending numbers without a repetition; parts of the upload that are not named are dropped."""
    given_etag: str = ""
    """Of the object; empty for the one that S3's clients expect."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to those the upload began with."""
    preconditions: Preconditions = NO_PRECONDITIONS

    @property
    def etag(self) -> str:
        return self.given_etag or multipart_etag(self.parts)


@dataclass(frozen=True, slots=True)
class UploadQuery:
    """One page of uploads, in the order of name (UTF-8 bytes), then id."""

    prefix: str = ""
    after_name: str = ""
    after_id: str = ""
    """Uploads strictly after this pair; with an empty id, after every upload of `after_name`."""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class UploadPage:
    uploads: tuple[UploadInfo, ...]
    more: bool
    """Whether uploads follow the last one."""


def multipart_etag(choices: Sequence[PartChoice]) -> str:
    """Of an object made of parts, as S3's clients expect it: the MD5 of the parts' MD5s, and their number. An etag of
    a part that is none (it was not asked for) counts by its characters."""
    digest = hashlib.md5(usedforsecurity=False)
    for choice in choices:
        is_md5 = MD5_HEX.fullmatch(choice.etag)
        digest.update(bytes.fromhex(choice.etag) if is_md5 else choice.etag.encode())
    return f"{digest.hexdigest()}-{len(choices)}"


class MultipartStore(ObjectStore, Protocol):
    """An `ObjectStore` that also takes objects in parts."""

    async def begin_upload(self, bucket: Bucket, request: PutRequest) -> UploadInfo:
        """Of `request`, name, content type, metadata and headers count."""
        ...

    async def put_part(
        self, bucket: Bucket, upload_id: str, number: int, request: PutRequest, body: AsyncIterator[bytes]
    ) -> PartInfo:
        """Write or overwrite one part of the upload of `request.name`. Raises as `put`, and UploadNotFound."""
        ...

    async def complete_upload(
        self, bucket: Bucket, name: str, upload_id: str, completion: Completion
    ) -> ObjectInfo:
        """Make the object of the named parts, without copying a byte. Repeated after success it gives the same answer
        as long as the object is current. Raises UploadNotFound, InvalidPart, PreconditionFailed."""
        ...

    async def abort_upload(self, bucket: Bucket, name: str, upload_id: str) -> None:
        """Remove the upload and every byte of it. Raises UploadNotFound."""
        ...

    async def list_uploads(self, bucket: Bucket, query: UploadQuery) -> UploadPage: ...

    async def list_parts(
        self, bucket: Bucket, name: str, upload_id: str
    ) -> tuple[UploadInfo, tuple[PartInfo, ...]]:
        """All parts (at most 10,000), by number. Raises UploadNotFound."""
        ...
