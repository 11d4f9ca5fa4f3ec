"""The table `uploads`: multipart uploads that are under way, and the parts that they have so far.

Key of an upload = bucket id (8 bytes) ‖ upload id (16 bytes); of a part = that ‖ part number (u16, big-endian).
So an upload and its parts lie together, in order, and go with their bucket. Values are sealed MessagePack arrays.
An upload id = milliseconds since 1970 of its beginning (6 bytes) ‖ random bytes: uploads of one name sort by age.
"""

from __future__ import annotations

import secrets
import time

import msgspec

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import DataCorrupt
from shoal_core.objects import BucketId
from shoal_store.keys import BUCKET_ID_BYTES
from shoal_store.record import ChunkPlace
from shoal_store.sealed import seal, unseal

FORMAT = 1
UPLOAD_ID_BYTES = 16
UPLOAD_KEY_BYTES = BUCKET_ID_BYTES + UPLOAD_ID_BYTES


class Upload(msgspec.Struct, array_like=True, frozen=True):
    """What was said of the object when its upload began."""

    name: str
    content_type: str
    metadata: dict[str, str]
    created_ns: int
    headers: dict[str, str] = {}
    """HTTP headers that belong to the content."""


class Part(msgspec.Struct, array_like=True, frozen=True):
    """One part: it becomes a chunk of the object, or several."""

    size: int
    etag: str
    checksum_type: str
    checksum_value: str
    modified_ns: int
    chunks: tuple[ChunkPlace, ...]
    headers: dict[str, str] = {}
    """The client's checksums of this part, as `x-amz-checksum-*`."""


def new_upload_id() -> bytes:
    return (time.time_ns() // 1_000_000).to_bytes(6) + secrets.token_bytes(UPLOAD_ID_BYTES - 6)


def upload_key(bucket_id: BucketId, upload_id: bytes) -> bytes:
    assert len(upload_id) == UPLOAD_ID_BYTES
    return bucket_id + upload_id


def part_key(bucket_id: BucketId, upload_id: bytes, *, number: int) -> bytes:
    return upload_key(bucket_id, upload_id) + number.to_bytes(2)


def is_part(key: bytes) -> bool:
    return len(key) > UPLOAD_KEY_BYTES


def number_of(part_key: bytes) -> int:
    return int.from_bytes(part_key[UPLOAD_KEY_BYTES:])


def encode_upload(key: bytes, upload: Upload | Part) -> bytes:
    return seal(key, msgspec.msgpack.encode(upload), format=FORMAT)


def decode_upload(key: bytes, value: bytes | memoryview) -> Upload:
    try:
        return msgspec.msgpack.decode(unseal(key, value, format=FORMAT, what="an upload"), type=Upload)
    except UNDECODABLE as error:
        raise DataCorrupt("an upload of the index cannot be decoded: run `shoal fsck`") from error


def decode_part(key: bytes, value: bytes | memoryview) -> Part:
    try:
        return msgspec.msgpack.decode(unseal(key, value, format=FORMAT, what="a part"), type=Part)
    except UNDECODABLE as error:
        raise DataCorrupt("a part of the index cannot be decoded: run `shoal fsck`") from error
