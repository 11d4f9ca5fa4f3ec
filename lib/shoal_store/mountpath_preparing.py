"""Whether a mountpath can be used: at the start of its target, and when an operator enables it."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from shoal_core.errors import DataCorrupt, OutOfSpace
from shoal_core.telemetry import get_logger
from shoal_store.durability import storage_error
from shoal_store.index import Index, header_trouble
from shoal_store.mountpath_states import MountpathState, MountpathStates
from shoal_store.mountpaths import MountpathFolder

Prepare: TypeAlias = Callable[[MountpathFolder], None]
"""Raises OSError for a disk that fails, ConfigurationError for one that is not ours."""

PROBE_BYTES = 64 << 10


def no_more(_folder: MountpathFolder) -> None:
    """What there is to do where no lock is taken."""


def prepare_all(
    folders: Sequence[MountpathFolder], states: MountpathStates, prepare: Prepare, *, target: str
) -> None:
    """Those that are available; one whose disk fails becomes failed, so that the others can serve.

    Raises OutOfSpace for a full disk, which is no fault of it, and Unavailable when none is left and no operator
    wanted that.
    """
    trouble: OSError | None = None
    for folder in folders:
        if not states.board.is_available(folder.id):
            continue
        try:
            prepare(folder)
        except OSError as error:
            if isinstance(storage_error(error, ""), OutOfSpace):
                raise storage_error(
                    error, f"cannot open the mountpaths of {target} ({error.filename})"
                ) from error
            trouble = error
            states.set(folder.id, MountpathState.FAILED, f"at the start: {error}", kept=False)
            get_logger().error(
                "mountpath-failed", mountpath=folder.id, path=str(folder.path), reason=str(error)
            )
    if trouble is not None and not any(states.board.is_available(folder.id) for folder in folders):
        raise storage_error(
            trouble, f"cannot open the mountpaths of {target} ({trouble.filename})"
        ) from trouble


def require_same_disk(folder: MountpathFolder, states: MountpathStates) -> None:
    """Raises OSError when a mountpath that was made before is not there: where a disk is not mounted, the empty folder
    under it would become a new mountpath, and all objects would seem lost."""
    if states.knows(folder.id) and not (folder.path / "shoal.json").is_file():
        raise OSError(
            errno.ENODEV,
            "the mountpath that was made here is not there, is its disk mounted?",
            str(folder.path),
        )


def require_index(folder: MountpathFolder) -> None:
    """Raises OSError for a made mountpath whose index is gone: LMDB would make an empty one, without a word."""
    if trouble := header_trouble(folder.path):
        raise OSError(
            errno.EUCLEAN, f"{trouble}: `shoal fsck --rebuild-index` makes it anew", str(folder.path)
        )


def require_current(folder: MountpathFolder) -> None:
    """Raises OSError for an index that is behind its own ledger. For the start: no process may open it twice."""
    try:
        Index(folder.id, folder.path, writable=True).close()
    except DataCorrupt as error:
        raise OSError(errno.EUCLEAN, error.message, str(folder.path)) from error


def probe(path: Path) -> None:
    """Write, sync, read and remove a small file. Blocks. Raises OSError."""
    file, data = path / "tmp" / f"probe-{secrets.token_hex(8)}", os.urandom(PROBE_BYTES)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, data)
        os.fsync(descriptor)
        # What comes back must come from the disk.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.pread(descriptor, PROBE_BYTES, 0) != data[:written]:
            raise OSError(errno.EIO, "what was written reads otherwise", str(file))
    finally:
        os.close(descriptor)
        file.unlink()
