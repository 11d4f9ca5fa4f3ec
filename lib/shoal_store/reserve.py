"""A file on each mountpath that is given up, little by little, so that a delete can go through on a full disk.

LMDB changes copies of pages. A lone delete finds as many free ones as the commit before it has left, but a group of
them, or one in a larger tree, has to make the index grow first. What the deletes free then makes a new reserve.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

FILE = "reserve"
BYTES_MAX = 16 << 20
SHARE_OF_DISK = 64
"""Of a small disk, the reserve is this part."""
PART_BYTES = 1 << 20
"""Given up at a time: the rest is for the next delete, if another writer takes this part first."""
PLENTY = 8
"""It is made when so many times as much is available."""
SECTOR_BYTES = 512


class Reserve:
    """Its methods block; they may be called from any thread."""

    def __init__(self, mountpath: Path) -> None:
        self._file = mountpath / FILE
        self._guard = threading.Lock()

    def keep(self) -> None:
        """Make it as large as it should be, when there is space in plenty. Raises OSError for a disk that fails."""
        with self._guard:
            disk = os.statvfs(self._file.parent)
            wanted = min(BYTES_MAX, disk.f_blocks * disk.f_frsize // SHARE_OF_DISK)
            with suppress(FileNotFoundError):
                if self._file.stat().st_blocks * SECTOR_BYTES >= wanted:
                    return
            if disk.f_bavail * disk.f_frsize >= PLENTY * wanted:
                self._allocate(wanted)

    def give(self) -> bool:
        """Free a part of it. Whether there was one."""
        with self._guard, suppress(OSError):
            size = self._file.stat().st_size
            os.truncate(self._file, max(0, size - PART_BYTES))
            return size > 0
        return False

    def _allocate(self, size: int) -> None:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
