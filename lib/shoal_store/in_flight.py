"""The table of writes in flight: which files lie in `data/` although no record names them yet.

Each process keeps its part in the locks of its folders `tmp/<process>/`: 16 bytes for each file, its id, written before
the file gets its name, free again once the outcome of its commit is known. It needs no sync, since after a loss of
power nothing is in flight; it ends with its process, however that ends, and it stays while the process is stopped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

from shoal_store.durability import storage_error
from shoal_store.mountpaths import LOCK, TemporaryFolder

ID_BYTES = 16
FREE = bytes(ID_BYTES)


class WritesInFlight:
    """Of this process. Its methods may be called from any thread."""

    def __init__(self, temporary: TemporaryFolder) -> None:
        self._temporary = temporary
        self._guard = threading.Lock()
        self._places: dict[bytes, Places] = {}
        self._by_mountpath: dict[str, Places] = {}

    def add(self, mountpath_id: str, file_id: bytes) -> None:
        """Before the file gets its name. Blocks. Raises OutOfSpace and Unavailable."""
        with self._guard:
            places = self._by_mountpath.get(mountpath_id)
            if places is None:
                places = self._by_mountpath[mountpath_id] = Places(self._temporary.lock(mountpath_id))
            try:
                places.add(file_id)
            except OSError as error:
                raise storage_error(error, f"cannot note a write on mountpath {mountpath_id}") from error
            self._places[file_id] = places

    def settle(self, file_ids: Iterable[bytes]) -> None:
        """Their commits have their outcomes, or the files are gone. Does not block: what they leave in the table is
        overwritten by the next that is added, and until then may keep an orphan from being collected."""
        with self._guard:
            for file_id in file_ids:
                if (places := self._places.pop(file_id, None)) is not None:
                    places.settle(file_id)

    def flush(self) -> None:
        """Takes out of the table what is settled. Blocks. Raises OSError."""
        with self._guard:
            for places in self._by_mountpath.values():
                places.flush()


class Places:
    """Those in the lock of one mountpath."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._taken: dict[bytes, int] = {}
        self._settled: list[int] = []
        """Free, but the table still has what was there."""
        self._free: list[int] = []
        self._count = 0

    def add(self, file_id: bytes) -> None:
        if self._settled:
            number = self._settled.pop()
        elif self._free:
            number = self._free.pop()
        else:
            number, self._count = self._count, self._count + 1
        try:
            self._write(number, file_id)
            self.flush()
        except OSError:
            self._settled.append(number)
            raise
        self._taken[file_id] = number

    def settle(self, file_id: bytes) -> None:
        self._settled.append(self._taken.pop(file_id))

    def flush(self) -> None:
        while self._settled:
            self._write(self._settled[-1], FREE)
            self._free.append(self._settled.pop())

    def _write(self, number: int, file_id: bytes) -> None:
        os.pwrite(self._descriptor, file_id, number * ID_BYTES)


def in_flight_on(mountpath: Path) -> set[bytes]:
    """Ids of the files that any process of this host may be about to commit, whether it lives or has yet to be swept.
    Blocks. Raises OSError."""
    found: set[bytes] = set()
    for lock in (mountpath / "tmp").glob(f"*/{LOCK}"):
        try:
            table = lock.read_bytes()
        except FileNotFoundError:
            continue  # its process has just ended
        found.update(table[start : start + ID_BYTES] for start in range(0, len(table), ID_BYTES))
    found.discard(FREE)
    return found
