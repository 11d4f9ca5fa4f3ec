"""Checksums of whole objects, as clients name them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

import crc32c
import xxhash

from shoal_core.errors import ChecksumMismatch, InvalidArgument
from shoal_core.objects import Checksum


class Hash(Protocol):
    def update(self, data: bytes | bytearray, /) -> object: ...
    def hexdigest(self) -> str: ...


HASHES: dict[str, Callable[[], Hash]] = {
    "xxhash2": lambda: xxhash.xxh64(seed=0),
    "crc32c": crc32c.CRC32CHash,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}


class ContentHashes:
    """The checksums owed for one body: the bucket's, the client's, and XXH3 for the etag."""

    def __init__(self, kept: str, promised: Iterable[Checksum], *, md5_etag: bool = False) -> None:
        self._promised = tuple(promised)
        self._kept = "" if kept == "none" else kept
        self._etag_type = "md5" if md5_etag else ""
        wanted = {checksum.type for checksum in self._promised} | {self._kept, self._etag_type} - {""}
        if unknown := wanted - HASHES.keys():
            raise InvalidArgument(
                f"checksum type {sorted(unknown)[0]!r} is not known; use one of {', '.join(HASHES)}"
            )
        self._hashes = {name: HASHES[name]() for name in wanted}
        self._etag = xxhash.xxh3_64()

    def update(self, data: bytes | bytearray) -> None:
        self._etag.update(data)
        for hash in self._hashes.values():
            hash.update(data)

    def etag(self) -> str:
        return self._hashes[self._etag_type].hexdigest() if self._etag_type else self._etag.hexdigest()

    def xxh3(self) -> int:
        return self._etag.intdigest()

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
