"""How every value of the index is kept: `format (1 byte) ‖ XXH3-64 over key and body (8 bytes, big-endian) ‖ body`.

LMDB has no checksums of its own. With the key inside, a value that lies under a wrong key is found out too.
"""

from __future__ import annotations

import xxhash

from shoal_core.errors import DataCorrupt

HEAD_BYTES = 9


def seal(key: bytes, body: bytes, *, format: int) -> bytes:
    return bytes((format,)) + xxhash.xxh3_64_digest(key + body) + body


def unseal(key: bytes, value: bytes | memoryview, *, format: int, what: str) -> bytes:
    """The body. Raises DataCorrupt for anything that was not sealed under this key in this format."""
    value = bytes(value)
    body = value[HEAD_BYTES:]
    if xxhash.xxh3_64_digest(key + body) != value[1:HEAD_BYTES]:
        raise DataCorrupt(f"{what} of the index fails its checksum: run `shoal fsck`", key=key.hex()[:64])
    if value[0] != format:
        raise DataCorrupt(f"{what} of the index has format {value[0]}; this Shoal knows {format}")
    return body


def is_sealed(key: bytes, value: bytes | memoryview) -> bool:
    """Whether somebody wrote this under this key, in whatever format. What is not sealed, nobody can read any more."""
    value = bytes(value)
    return len(value) >= HEAD_BYTES and xxhash.xxh3_64_digest(key + value[HEAD_BYTES:]) == value[1:HEAD_BYTES]
