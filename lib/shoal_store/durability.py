"""Every sync that the engine owes, in one place, each with a label, so that a test can leave one out."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from shoal_core.errors import OutOfSpace, Unavailable

SKIPPED: set[str] = set()
"""Labels whose sync is left out. Only the power-loss tests add to it."""

_SYNC_FILE_RANGE_WRITE = 2
_LIBRARY = ctypes.CDLL(None)


def begin_writing(descriptor: int, offset: int, length: int) -> None:
    """The kernel begins to write these bytes of the file to its disk, so that the sync that follows finds less to do.
    Promises nothing, so it does not fail."""
    _LIBRARY.sync_file_range(
        descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE
    )


def sync_data(descriptor: int, label: str) -> None:
    """A failed sync means that the file is lost: whoever wrote it discards it, nobody syncs it again."""
    if label not in SKIPPED:
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            raise storage_error(error, f"sync of {label} failed") from error


def sync_directory(path: Path, label: str) -> None:
    if label in SKIPPED:
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            close_read(descriptor)
    except OSError as error:
        raise storage_error(error, f"sync of the folder for {label} failed") from error


def close_read(descriptor: int) -> None:
    """Of what was only read, or is synced: nothing can get lost any more, whatever close says; and it is closed."""
    try:
        os.close(descriptor)
    except OSError:
        """A `suppress` costs as much as the call."""


def storage_error(error: OSError, what: str) -> OutOfSpace | Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfSpace(f"{what}: the disk is full; delete objects or add space")
    return Unavailable(f"{what}: {error.strerror}; look at the disk")
