"""Versions: hybrid logical clock (8 bytes: milliseconds << 16 | counter) ‖ number of the committing node (4 bytes)."""

from __future__ import annotations

import time

import xxhash

from shoal_core.objects import Version

VERSION_BYTES = 12
CLOCK_BYTES = 8


class VersionClock:
    """Gives versions that only grow, whatever the wall clock does. One an index; not thread-safe."""

    def __init__(self, target: str) -> None:
        self._node = xxhash.xxh32_intdigest(target.encode()).to_bytes(4)
        self._last = 0

    @property
    def last(self) -> bytes:
        """High-water mark, kept in the index."""
        return self._last.to_bytes(CLOCK_BYTES)

    def raise_to(self, mark: bytes) -> None:
        self._last = max(self._last, int.from_bytes(mark[:CLOCK_BYTES]))

    def after(self, replaced: bytes) -> Version:
        """A version greater than the one it replaces and than all that this clock gave before."""
        now = time.time_ns() // 1_000_000 << 16
        self._last = max(now, self._last + 1, int.from_bytes(replaced[:CLOCK_BYTES]) + 1)
        return Version(self._last.to_bytes(CLOCK_BYTES) + self._node)

    def at_moment(self, moment_ns: int, replaced: bytes) -> Version:
        """For what was written before: of that moment, if that is greater than the version it replaces."""
        clock = max(moment_ns // 1_000_000 << 16, int.from_bytes(replaced[:CLOCK_BYTES]) + 1)
        self._last = max(self._last, clock)
        return Version(clock.to_bytes(CLOCK_BYTES) + self._node)


def version_key(key: bytes, version: bytes) -> bytes:
    """Where `versions` keeps an older version: behind its record's key, newest first. Never over LMDB's 511 bytes,
    because keys end at 464; never in another name's way, because names hold no NUL."""
    return key + b"\0" + inverted(version)


def inverted(version: bytes) -> bytes:
    """Sorts newest first."""
    return bytes(255 - byte for byte in version)
