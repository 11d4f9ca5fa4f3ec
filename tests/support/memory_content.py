"""What the fakes in memory check and keep of a body, by the libraries that users would take."""

from __future__ import annotations

import hashlib

import xxhash
from crc32c import crc32c

from shoal_core.errors import ChecksumMismatch, SizeMismatch
from shoal_core.objects import Bucket, Checksum, PutRequest


def check_content(request: PutRequest, data: bytes) -> None:
    if request.size is not None and request.size != len(data):
        raise SizeMismatch(f"{len(data)} bytes came and {request.size} were announced")
    for checksum in request.checksums:
        if checksum != checksum_of(checksum.type, data):
            raise ChecksumMismatch(f"the {checksum.type} differs", type=checksum.type)


def kept_checksum(bucket: Bucket, data: bytes) -> Checksum | None:
    kind = bucket.properties.checksum_type
    return None if kind == "none" else checksum_of(kind, data)


def checksum_of(kind: str, data: bytes) -> Checksum:
    match kind:
        case "xxhash2":
            return Checksum(kind, str(xxhash.xxh64_hexdigest(data)))
        case "crc32c":
            return Checksum(kind, f"{crc32c(data):08x}")
        case _:
            return Checksum(kind, hashlib.new(kind, data).hexdigest())


def content_etag(request: PutRequest, data: bytes) -> str:
    return hashlib.md5(data).hexdigest() if request.md5_etag else str(xxhash.xxh3_128_hexdigest(data))
