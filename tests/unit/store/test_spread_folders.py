"""Folders for new files: many where the file system lays them apart, else the one there is."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from shoal_store.mountpaths import MountpathFolder, Mountpaths, TemporaryFolder
from shoal_store.spread_folders import FOLDERS, spread_folders


def refuse(*_arguments: object) -> bytes:
    raise OSError(errno.ENOTTY, "no such thing here")


def test_files_are_spread_evenly_and_go_with_their_process(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    temporary = TemporaryFolder(Mountpaths([MountpathFolder("mp1", tmp_path)]))
    folders = [temporary.path_of_file("mp1") for _ in range(2 * FOLDERS)]
    assert folders[:FOLDERS] == folders[FOLDERS:]
    assert {temporary.path("mp1")} <= {folders[0], folders[0].parent}
    (folders[1] / "unfinished").write_bytes(b"x")
    temporary.close()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_where_folders_cannot_be_laid_apart_files_go_into_the_one_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", refuse)
    assert spread_folders(tmp_path) == [tmp_path]
    assert list(tmp_path.iterdir()) == []
