"""The mountpaths of this target: taken for this process alone, and measured."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from shoal_core.errors import ConfigurationError
from shoal_store.committer import Authority
from shoal_store.engine import Engine, open_engine
from shoal_store.identity import prepare_mountpath

GIBIBYTE = 1 << 30


def take_mountpaths(folders: Mapping[str, Path], *, cluster: str, target: str) -> list[int]:
    """Make new mountpaths, check used ones, lock them all. Returns what holds the locks, until the process ends.

    Raises ConfigurationError for a mountpath of another target, of an unknown format, or that is in use.
    """
    return [take(name, path, cluster=cluster, target=target) for name, path in folders.items()]


def take(mountpath: str, path: Path, *, cluster: str, target: str) -> int:
    try:
        prepare_mountpath(path, cluster=cluster, target=target, mountpath=mountpath)
        descriptor = os.open(path / "shoal.json", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"mountpath {mountpath}: cannot use {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigurationError(
            f"mountpath {mountpath}: another target process uses {path}: stop it first"
        ) from error
    return descriptor


def opened(folders: Mapping[str, Path], *, cluster: str, target: str, authority: Authority) -> Engine:
    """The engine on these mountpaths. Raises ConfigurationError, above all when a disk is full."""
    try:
        return open_engine(folders, cluster=cluster, target=target, authority=authority)
    except OSError as error:
        paths = ", ".join(str(path) for path in folders.values())
        raise ConfigurationError(
            f"cannot open the mountpaths {paths}: {error.strerror}; free some space or mend the disk, then start again"
        ) from error


def capacity_bytes(path: Path) -> int:
    """Size of the filesystem."""
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


def capacity_weight(paths: Iterable[Path]) -> float:
    """The capacity of all filesystems in GiB, each counted once however many mountpaths lie on it."""
    by_device = {path.stat().st_dev: capacity_bytes(path) for path in paths}
    return max(sum(by_device.values()) / GIBIBYTE, 0.001)
