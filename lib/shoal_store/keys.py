"""Keys of the index: how a name of up to 1,024 bytes becomes one of at most 511, in an order that can be listed.

Key = bucket id (8 bytes) ‖ name in UTF-8. LMDB's keys end at 511 bytes, so a name over 440 bytes is keyed by its first
440 ‖ 16 bytes of hash, and its record holds the whole name. Names that share the first 440 bytes form a group whose
keys are not in name order; a listing sorts within the group.
"""

from __future__ import annotations

import msgspec
import xxhash

from shoal_core.errors import InvalidName
from shoal_core.objects import OBJECT_NAME_BYTES_MAX, BucketId
from shoal_core.placement import name_hash, slot_of_hash

BUCKET_ID_BYTES = 8
NAME_BYTES_MAX = 440
HASH_BYTES = 16


def encode_name(name: str) -> bytes:
    """The UTF-8 bytes of a name that may be kept; raises InvalidName with the rule that it breaks."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise InvalidName("an object name must be valid UTF-8") from error
    if not 1 <= len(encoded) <= OBJECT_NAME_BYTES_MAX:
        raise InvalidName(
            f"an object name has 1 to {OBJECT_NAME_BYTES_MAX} bytes of UTF-8, this one {len(encoded)}"
        )
    if b"\0" in encoded:
        raise InvalidName("an object name must not contain NUL")
    return encoded


class PlacedName(msgspec.Struct, frozen=True, gc=False):
    """A name, looked at once: what tells its slot, its mountpath and its row."""

    encoded: bytes
    hashed: bytes
    """As `name_hash` makes it."""
    slot: int
    """As `slot_of_hash` tells it."""


def placed(bucket_id: BucketId, encoded_name: bytes) -> PlacedName:
    hashed = name_hash(bucket_id, encoded_name)
    return PlacedName(encoded_name, hashed, slot_of_hash(hashed))


def key_of(bucket_id: BucketId, encoded_name: bytes) -> bytes:
    if len(encoded_name) <= NAME_BYTES_MAX:
        return bucket_id + encoded_name
    return bucket_id + encoded_name[:NAME_BYTES_MAX] + xxhash.xxh3_128_digest(encoded_name)


def is_hashed(key: bytes) -> bool:
    return len(key) > BUCKET_ID_BYTES + NAME_BYTES_MAX


def group_of(key: bytes) -> bytes:
    """What all keys of names with the same first 440 bytes begin with."""
    return key[: BUCKET_ID_BYTES + NAME_BYTES_MAX]
