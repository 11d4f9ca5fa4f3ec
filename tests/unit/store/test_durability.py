"""Syncs that fail, and how the errors of a disk are told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shoal_core.errors import OutOfSpace, ShoalError, Unavailable
from shoal_store.durability import storage_error, sync_data, sync_directory


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, OutOfSpace), (errno.EDQUOT, OutOfSpace), (errno.EIO, Unavailable)]
)
def test_a_full_disk_is_told_from_a_broken_one(number: int, kind: type[ShoalError]) -> None:
    error = storage_error(OSError(number, os.strerror(number)), "cannot write /disk/file")
    assert type(error) is kind
    assert error.message.startswith("cannot write /disk/file: ")
    assert "outcome" not in error.metadata


def test_a_failed_sync_names_what_was_to_be_synced() -> None:
    reading, writing = os.pipe()
    with pytest.raises(Unavailable, match="sync of chunk data failed"):
        sync_data(writing, "chunk data")
    os.close(reading)
    os.close(writing)


def test_a_folder_that_cannot_be_opened_is_a_failed_sync(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="sync of the folder for chunk name failed"):
        sync_directory(tmp_path / "gone", "chunk name")
