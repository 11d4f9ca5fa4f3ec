"""The table `tombstones`: what was deleted while its slot was on the move, so that no older copy brings it back.

Key = the key that the record had. Kept only until the move ends.
"""

from __future__ import annotations

import msgspec

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import DataCorrupt
from shoal_store.sealed import seal, unseal

FORMAT = 1


class Tombstone(msgspec.Struct, array_like=True, frozen=True):
    version: bytes
    """Of the delete: everything older is gone."""
    deleted_ns: int
    name: str = ""
    """Set only when the key does not hold the whole name."""


def encode_tombstone(key: bytes, tombstone: Tombstone) -> bytes:
    return seal(key, msgspec.msgpack.encode(tombstone), format=FORMAT)


def decode_tombstone(key: bytes, value: bytes | memoryview) -> Tombstone:
    try:
        body = unseal(key, value, format=FORMAT, what="a tombstone")
        return msgspec.msgpack.decode(body, type=Tombstone)
    except UNDECODABLE as error:
        raise DataCorrupt("a tombstone of the index cannot be decoded: run `shoal fsck`") from error
