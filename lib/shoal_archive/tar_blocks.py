"""Tar, written by hand: POSIX ustar headers, with a pax header before those that need one.

`tarfile` takes some twenty microseconds a member; a batch has a thousand of them and a stream a hundred thousand.
Format: POSIX.1-2017, `pax` utility, "ustar Interchange Format" and "pax Header Block".
"""

from __future__ import annotations

from functools import lru_cache

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
"""Two empty blocks end an archive."""
NAME_BYTES_MAX = 100
USTAR_SIZE_MAX = 8**11 - 1

_PADDING = tuple(bytes(-length % BLOCK_BYTES) for length in range(BLOCK_BYTES))
_OWNER = b"0000644\x000000000\x000000000\x00"
_CHECKSUM_AS_SUMMED = b" " * 8
_LINK = bytes(100)
_TAIL = b"ustar\x0000" + bytes(32 + 32 + 8 + 8 + 155 + 12)
_FILE = b"0"
_PAX = b"x"
_PAX_NAME = b"././@PaxHeader"


def member_header(name: bytes, size: int, *, modified_seconds: int = 0) -> bytes:
    """The blocks before the bytes of a regular file."""
    if len(name) <= NAME_BYTES_MAX and size <= USTAR_SIZE_MAX:
        return _block(name, size, modified_seconds, _FILE)
    records = pax_record(b"path", name)
    if size > USTAR_SIZE_MAX:
        records += pax_record(b"size", b"%d" % size)
    return b"".join((
        _block(_PAX_NAME, len(records), modified_seconds, _PAX),
        records,
        padding(len(records)),
        _block(name[:NAME_BYTES_MAX], size if size <= USTAR_SIZE_MAX else 0, modified_seconds, _FILE),
    ))  # fmt: skip


def padding(size: int) -> bytes:
    """What follows the bytes of a member up to the next block."""
    return _PADDING[size % BLOCK_BYTES]


def pax_record(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>` and a line end; the length counts its own digits."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest)
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d%b" % (length, rest)


def _block(name: bytes, size: int, modified_seconds: int, kind: bytes) -> bytes:
    before, after, rest_sum = _around_checksum(size, modified_seconds, kind)
    return b"%b%b%06o\x00 %b" % (name.ljust(NAME_BYTES_MAX, b"\x00"), before, sum(name) + rest_sum, after)


@lru_cache(1024)
def _around_checksum(size: int, modified_seconds: int, kind: bytes) -> tuple[bytes, bytes, int]:
    """What stands between the name and the checksum, what behind it, and the sum of both: samples are often of one
    size, and then only the name differs."""
    before = b"%b%011o\x00%011o\x00" % (_OWNER, size, max(modified_seconds, 0))
    after = kind + _LINK + _TAIL
    return before, after, sum(before) + sum(_CHECKSUM_AS_SUMMED) + sum(after)
