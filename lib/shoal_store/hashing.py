"""Checksums of whole objects, as clients name them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Literal, Protocol, TypeAlias

import crc32c
import xxhash

from shoal_core.errors import ChecksumMismatch, InvalidArgument
from shoal_core.objects import Bucket, Checksum, PutRequest

Bytes: TypeAlias = bytes | bytearray | memoryview


class Hash(Protocol):
    def update(self, data: Bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


HASHES: dict[str, Callable[[], Hash]] = {
    "xxhash2": lambda: xxhash.xxh64(seed=0),
    "crc32c": crc32c.CRC32CHash,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}

SLOW = frozenset({"md5", "sha256", "sha512"})
"""They take longer than writing the bytes."""

EtagKind = Literal["xxh3", "md5", "fast"]
"""`fast` is XXH3 as well, and says by its `-1` that it is no MD5."""


def etag_kind(bucket: Bucket, request: PutRequest) -> EtagKind:
    if not request.md5_etag:
        return "xxh3"
    return "fast" if bucket.properties.s3_etag == "fast" else "md5"


def made(name: str) -> Hash:
    """Raises InvalidArgument for a type that is not known."""
    if (kind := HASHES.get(name)) is None:
        raise InvalidArgument(f"checksum type {name!r} is not known; use one of {', '.join(HASHES)}")
    return kind()


class ContentHashes:
    """The checksums owed for one body: the bucket's, the client's, and the etag; nothing else is computed."""

    def __init__(self, kept: str, promised: Iterable[Checksum], *, etag: EtagKind = "xxh3") -> None:
        self._promised = tuple(promised)
        self._kept = "" if kept == "none" else kept
        self._etag_kind = etag
        wanted = [checksum.type for checksum in self._promised]
        if self._kept:
            wanted.append(self._kept)
        if etag == "md5":
            wanted.append("md5")
        self._hashes = {name: made(name) for name in wanted}
        self.xxh3 = None if etag == "md5" else xxhash.xxh3_64()
        """Of all bytes so far, if the etag is one."""
        self._etag: Hash = self.xxh3 or self._hashes["md5"]
        self._all = (*self._hashes.values(), self.xxh3) if self.xxh3 else (*self._hashes.values(),)
        self.are_slow = not SLOW.isdisjoint(self._hashes)
        """Then they are worth a thread of their own."""

    def update(self, data: Bytes) -> None:
        for hash in self._all:
            hash.update(data)

    def update_all(self, pieces: Iterable[Bytes]) -> None:
        for piece in pieces:
            self.update(piece)

    def etag(self) -> str:
        digest = self._etag.hexdigest()
        return f"{digest}-1" if self._etag_kind == "fast" else digest

    def kept(self) -> Checksum:
        return Checksum(self._kept or "none", self._hashes[self._kept].hexdigest() if self._kept else "")

    def check(self) -> None:
        for checksum in self._promised:
            found = self._hashes[checksum.type].hexdigest()
            if found != checksum.value.lower():
                raise ChecksumMismatch(
                    f"the {checksum.type} checksum of the body is {found}, not {checksum.value} as announced: "
                    "nothing was stored, send it again",
                    type=checksum.type,
                )
