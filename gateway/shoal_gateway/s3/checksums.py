"""S3's additional checksums: `x-amz-checksum-<algorithm>`, base64 of the big-endian digest, ahead or as a trailer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import anycrc
from crc32c import crc32c

from shoal_gateway.s3.errors import S3Error

PREFIX = "x-amz-checksum-"
TYPE = "x-amz-checksum-type"
FULL_OBJECT, COMPOSITE = "FULL_OBJECT", "COMPOSITE"


class Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


class RunningCrc:
    """A CRC with the interface of hashlib."""

    def __init__(self, step: Callable[[bytes, int], int], *, digest_bytes: int) -> None:
        self._step = step
        self._value = 0
        self._digest_bytes = digest_bytes

    def update(self, data: bytes) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._digest_bytes)


_CRC64NVME = anycrc.Model("CRC64-NVME")
_CRC32 = anycrc.Model("CRC32")
_CRC32C = anycrc.Model("CRC32C")

ALGORITHMS: Mapping[str, Callable[[], Digest]] = {
    "crc32": lambda: RunningCrc(zlib.crc32, digest_bytes=4),
    "crc32c": lambda: RunningCrc(crc32c, digest_bytes=4),
    "crc64nvme": lambda: RunningCrc(_CRC64NVME.calc, digest_bytes=8),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
COMBINED = {"crc32": (_CRC32, 4), "crc32c": (_CRC32C, 4), "crc64nvme": (_CRC64NVME, 8)}
"""Algorithms whose checksum of the whole follows from those of the parts."""


def algorithm_of(header: str) -> str | None:
    """The algorithm that `x-amz-checksum-<algorithm>` names, if it is one."""
    name = header.removeprefix(PREFIX)
    return name if header.startswith(PREFIX) and name in ALGORITHMS else None


def decoded(value: str, algorithm: str) -> bytes:
    """Raises S3Error for what cannot be a checksum of this algorithm."""
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != len(ALGORITHMS[algorithm]().digest()):
        raise S3Error("InvalidRequest", f"Value for {PREFIX}{algorithm} header is invalid.")
    return raw


def promised_in(headers: Mapping[str, str]) -> Mapping[str, bytes]:
    """What headers say of the body ahead of it, by algorithm. AWS takes one at most. Raises S3Error."""
    found = {}
    for header, value in headers.items():
        if (algorithm := algorithm_of(header)) is not None:
            found[algorithm] = decoded(value, algorithm)
    if len(found) > 1:
        raise S3Error(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    return found


def proved(promised: Mapping[str, bytes], digests: Mapping[str, Digest]) -> Mapping[str, str]:
    """What is kept as headers of the object. Raises S3Error when a digest of the body is not as promised."""
    kept = {}
    for name, expected in promised.items():
        found = digests[name].digest()
        if found != expected:
            raise S3Error(
                "BadDigest", f"The {name.upper()} you specified did not match the calculated checksum."
            )
        kept[f"{PREFIX}{name}"] = encoded(found)
        kept[TYPE] = FULL_OBJECT
    return kept


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def composite(algorithm: str, parts: list[bytes]) -> str:
    """The checksum of the parts' checksums, as S3 writes it: with the number of parts."""
    hash = ALGORITHMS[algorithm]()
    hash.update(b"".join(parts))
    return f"{encoded(hash.digest())}-{len(parts)}"


def combined(algorithm: str, parts: list[tuple[bytes, int]]) -> str:
    """The checksum of the whole, from (digest, length) of each part."""
    model, digest_bytes = COMBINED[algorithm]
    whole = int.from_bytes(parts[0][0])
    for digest, length in parts[1:]:
        whole = model.combine(whole, int.from_bytes(digest), length)
    return encoded(whole.to_bytes(digest_bytes))
