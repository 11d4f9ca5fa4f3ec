"""Syncs that fail, and how the errors of a disk are told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shoal_core.errors import OutOfSpace, ShoalError, Unavailable
from shoal_store.durability import begin_writing, storage_error, sync_data, sync_directory


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


def test_writing_that_was_begun_changes_nothing_and_never_fails(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        file.write(data := os.urandom(100_000))
        file.flush()
        begin_writing(file.fileno(), 0, len(data))
        sync_data(file.fileno(), "data")
        descriptor = file.fileno()
    assert (tmp_path / "file").read_bytes() == data
    begin_writing(descriptor, 0, len(data))
