"""The mountpaths of one target as a set: which index keeps a name, which disk gets the next chunk."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import xxhash

from shoal_core.errors import MountpathUnavailable
from shoal_core.objects import BucketId
from shoal_core.placement import name_hash
from shoal_store.disk_faults import DiskFaults
from shoal_store.durability import storage_error
from shoal_store.mountpath_states import MountpathState, StateBoard
from shoal_store.spread_folders import spread_folders

SETTLE_SECONDS = 2.0
LOCK = "lock"
"""Locked for as long as the process of the folder lives; it has the process's writes in flight (`in_flight.py`)."""


@dataclass(frozen=True, slots=True)
class MountpathFolder:
    id: str
    path: Path


class Mountpaths:
    """All of them, whatever their states: a name must not move to another disk because its own is away."""

    def __init__(
        self,
        folders: Iterable[MountpathFolder],
        *,
        target: str = "",
        board: StateBoard | None = None,
        faults: DiskFaults | None = None,
    ) -> None:
        self.all: Sequence[MountpathFolder] = sorted(folders, key=lambda folder: folder.id)
        self._folders = {folder.id: folder for folder in self.all}
        self._target = target
        self._board = board or StateBoard.private(self._folders)
        self.is_available = self._board.is_available
        self.faults = faults or DiskFaults(self._board)
        self._paths = {folder.id: folder.path for folder in self.all}
        self._data = {folder.id: f"{folder.path}/data" for folder in self.all}
        self._encoded = [(folder.id, folder.id.encode()) for folder in self.all]
        self._next = secrets.randbelow(len(self.all))

    def path(self, mountpath_id: str) -> Path:
        """Raises MountpathUnavailable."""
        self.require(mountpath_id)
        return self._paths[mountpath_id]

    def folder(self, mountpath_id: str) -> MountpathFolder:
        """Whatever its state."""
        return self._folders[mountpath_id]

    def available(self) -> list[MountpathFolder]:
        return [folder for folder in self.all if self._board.is_available(folder.id)]

    def require(self, mountpath_id: str) -> None:
        """Raises MountpathUnavailable for one that may not be read or written now."""
        if not self._board.is_available(mountpath_id):
            raise self._unavailable(self._folders[mountpath_id])

    def require_name(self, bucket_id: BucketId, encoded_name: bytes) -> None:
        """Before a body is taken for a name that could not be committed. Raises MountpathUnavailable."""
        self.require(self.of_name(bucket_id, encoded_name))

    def may_remove(self, file: Path) -> bool:
        """Whether this chunk file or manifest lies on an available mountpath. Elsewhere it stays as an orphan."""
        return all(self._board.is_available(each.id) or each.path not in file.parents for each in self.all)

    def _unavailable(self, folder: MountpathFolder) -> MountpathUnavailable:
        state = self._board.of(folder.id)
        by = "an operator has disabled it" if state is MountpathState.DISABLED else "look at its disk"
        return MountpathUnavailable(
            f"mountpath {folder.id} of target {self._target} ({folder.path}) is {state}: {by}; "
            f"`shoal mountpath enable {self._target} {folder.id}` tries it and brings it back",
            mountpath=folder.id,
            target=self._target,
            state=str(state),
        )

    def of_name(self, bucket_id: BucketId, encoded_name: bytes) -> str:
        """The mountpath whose index keeps this name: rendezvous over the ids, stable while the set is."""
        return self.of_hash(name_hash(bucket_id, encoded_name))

    def of_hash(self, hashed: bytes) -> str:
        """As `of_name`, for whoever has the name's hash already."""
        if len(self._encoded) == 1:
            return self._encoded[0][0]
        best, found = -1, ""
        for mountpath_id, encoded_id in self._encoded:
            if (score := xxhash.xxh3_64_intdigest(hashed + encoded_id)) > best:
                best, found = score, mountpath_id
        return found

    def chunk_name(self, mountpath_id: str, file_id: bytes) -> str:
        """As `chunkfile.chunk_path`, at a tenth of its cost. Raises MountpathUnavailable."""
        self.require(mountpath_id)
        name = file_id.hex()
        return f"{self._data[mountpath_id]}/{name[:2]}/{name}"

    def next_for_chunk(self) -> MountpathFolder:
        """Raises MountpathUnavailable when none is available."""
        for _ in self.all:
            self._next = (self._next + 1) % len(self.all)
            if self._board.is_available(self.all[self._next].id):
                return self.all[self._next]
        raise self._unavailable(self.all[self._next])


class TemporaryFolder:
    """`tmp/<process>/` of one process on each mountpath, held by a lock for as long as the process lives. On one that
    is not available yet, it is made when it is first needed."""

    def __init__(self, mountpaths: Mountpaths) -> None:
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._mountpaths = mountpaths
        self._making = threading.Lock()
        self._folders: dict[str, Path] = {}
        self._spread: dict[str, Iterator[Path]] = {}
        self._locks: dict[str, int] = {}
        for folder in mountpaths.available():
            self._make(folder)

    def path(self, mountpath_id: str) -> Path:
        """Raises MountpathUnavailable."""
        self._mountpaths.require(mountpath_id)
        if mountpath_id not in self._folders:
            try:
                self._make(self._mountpaths.folder(mountpath_id))
            except OSError as error:
                raise storage_error(error, f"cannot write to mountpath {mountpath_id}") from error
        return self._folders[mountpath_id]

    def path_of_file(self, mountpath_id: str) -> Path:
        """A folder for one new file. Raises as `path`."""
        self.path(mountpath_id)
        return next(self._spread[mountpath_id])

    def lock(self, mountpath_id: str) -> int:
        """The open lock of the folder there, which `WritesInFlight` writes to. Raises as `path`."""
        self.path(mountpath_id)
        return self._locks[mountpath_id]

    def _make(self, folder: MountpathFolder) -> None:
        with self._making:
            if folder.id in self._folders:
                return
            path = folder.path / "tmp" / self._name
            path.mkdir()
            lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self._locks[folder.id] = lock
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._spread[folder.id] = cycle(spread_folders(path))
            self._folders[folder.id] = path

    def close(self) -> None:
        for path in self._folders.values():
            shutil.rmtree(path, ignore_errors=True)
        while self._locks:
            os.close(self._locks.popitem()[1])


def sweep_temporary(mountpath: Path) -> int:
    """Remove what dead processes left, which their locks tell; returns the number of folders."""
    return sum(swept(folder) for folder in (mountpath / "tmp").iterdir())


def swept(folder: Path) -> bool:
    """A folder that was just made may not be locked yet, so a young one is left for the next time, as is whatever
    cannot be locked: a file that is not ours, a folder on a disk so full that the lock's file cannot be made."""
    try:
        if time.time() - folder.stat().st_mtime < SETTLE_SECONDS:
            return False
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    shutil.rmtree(folder, ignore_errors=True)
    return True


def available_bytes(path: Path) -> tuple[int, int]:
    """Used and available bytes of the filesystem."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise storage_error(error, f"cannot look at {path}") from error
    return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_bavail * found.f_frsize
