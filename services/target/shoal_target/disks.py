"""The mountpaths of this target: taken for this process alone, and measured."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from shoal_core.errors import ConfigurationError, OutOfSpace, Unavailable
from shoal_store.committer import Authority
from shoal_store.disk_faults import FaultLimits
from shoal_store.engine import Engine, open_engine
from shoal_store.identity import prepare_mountpath
from shoal_store.mountpath_preparing import prepare_all, require_same_disk
from shoal_store.mountpath_states import MountpathStates
from shoal_store.mountpaths import MountpathFolder

GIBIBYTE = 1 << 30


def take_mountpaths(
    folders: Mapping[str, Path], states: MountpathStates, *, cluster: str, target: str
) -> DiskLocks:
    """Make new mountpaths, check used ones, lock all that are available. One whose disk fails becomes failed.

    Raises ConfigurationError for a mountpath of another target, of an unknown format, or that is in use, and when no
    disk is left.
    """
    locks = DiskLocks(cluster, target)

    def prepare(folder: MountpathFolder) -> None:
        require_same_disk(folder, states)
        locks.take(folder)

    try:
        prepare_all([MountpathFolder(*each) for each in folders.items()], states, prepare, target=target)
    except (OutOfSpace, Unavailable) as error:
        raise ConfigurationError(f"cannot use the mountpaths of {target}: {error.message}") from error
    return locks


class DiskLocks:
    """What keeps other processes from these disks, until this one ends."""

    def __init__(self, cluster: str, target: str) -> None:
        self.cluster = cluster
        self.target = target
        self._taken: dict[str, int] = {}

    def take(self, folder: MountpathFolder) -> None:
        """Again for one that was taken before. Blocks. Raises OSError and ConfigurationError."""
        before = self._taken.get(folder.id)
        if before is not None:
            if os.path.samestat(os.fstat(before), (folder.path / "shoal.json").stat()):
                return
            # Another disk is mounted there now, and the lock of the old one is of no more use.
            os.close(self._taken.pop(folder.id))
        self._taken[folder.id] = locked(folder.id, folder.path, cluster=self.cluster, target=self.target)


def locked(mountpath: str, path: Path, *, cluster: str, target: str) -> int:
    prepare_mountpath(path, cluster=cluster, target=target, mountpath=mountpath)
    descriptor = os.open(path / "shoal.json", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigurationError(
            f"mountpath {mountpath}: another target process uses {path}: stop it first"
        ) from error
    return descriptor


def opened(
    folders: Mapping[str, Path],
    locks: DiskLocks,
    states: MountpathStates,
    *,
    authority: Authority,
    limits: FaultLimits,
) -> Engine:
    """The engine on these mountpaths. Raises ConfigurationError, above all when a disk is full."""
    try:
        return open_engine(
            folders,
            cluster=locks.cluster,
            target=locks.target,
            authority=authority,
            states=states,
            admit=locks.take,
            limits=limits,
        )
    except OSError as error:
        paths = ", ".join(str(path) for path in folders.values())
        raise ConfigurationError(
            f"cannot open the mountpaths {paths}: {error.strerror}; free some space or mend the disk, then start again"
        ) from error


def capacity_bytes(path: Path) -> int:
    """Size of the filesystem; 0 for a disk that does not answer."""
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_blocks * found.f_frsize


def capacity_weight(paths: Iterable[Path]) -> float:
    """The capacity of all filesystems in GiB, each counted once however many mountpaths lie on it."""
    by_device = {}
    for path in paths:
        with suppress(OSError):
            by_device[path.stat().st_dev] = capacity_bytes(path)
    return max(sum(by_device.values()) / GIBIBYTE, 0.001)
