"""The set of mountpaths: where names and chunks go, and whose temporary files may be swept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from shoal_core.errors import Unavailable
from shoal_core.objects import BucketId
from shoal_store.mountpaths import (
    SETTLE_SECONDS,
    MountpathFolder,
    Mountpaths,
    TemporaryFolder,
    available_bytes,
    sweep_temporary,
)

BUCKET_ID = BucketId(b"8 bytes!")


@pytest.fixture
def mountpaths(tmp_path: Path) -> Mountpaths:
    folders = [MountpathFolder(f"mp{number}", tmp_path / f"mp{number}") for number in (1, 2, 3)]
    for folder in folders:
        (folder.path / "tmp").mkdir(parents=True)
    return Mountpaths(folders)


def age(folder: Path) -> None:
    """As if nothing had changed in it for a while."""
    past = time.time() - 10 * SETTLE_SECONDS
    os.utime(folder, (past, past))


def test_a_name_has_one_mountpath_whatever_the_order_of_the_set(mountpaths: Mountpaths) -> None:
    reversed_set = Mountpaths(reversed(mountpaths.all))
    names = [f"name-{number}".encode() for number in range(300)]
    kept = [mountpaths.of_name(BUCKET_ID, name) for name in names]
    assert kept == [reversed_set.of_name(BUCKET_ID, name) for name in names]
    assert min(Counter(kept).values()) > 60


def test_another_mountpath_takes_names_and_moves_none_between_the_others(mountpaths: Mountpaths) -> None:
    smaller = Mountpaths(mountpaths.all[:2])
    for number in range(300):
        name = f"name-{number}".encode()
        kept = mountpaths.of_name(BUCKET_ID, name)
        assert kept in (smaller.of_name(BUCKET_ID, name), "mp3")


def test_chunks_go_to_all_mountpaths_in_turn(mountpaths: Mountpaths) -> None:
    assert Counter(mountpaths.next_for_chunk().id for _ in range(30)) == {"mp1": 10, "mp2": 10, "mp3": 10}


def test_the_temporary_folder_of_a_living_process_is_not_swept(mountpaths: Mountpaths) -> None:
    temporary = TemporaryFolder(mountpaths)
    unfinished = temporary.path("mp1") / "unfinished"
    unfinished.write_bytes(b"x")
    age(unfinished.parent)
    assert sweep_temporary(mountpaths.path("mp1")) == 0
    assert unfinished.exists()
    temporary.close()


def test_what_a_killed_process_left_is_swept(mountpaths: Mountpaths) -> None:
    path = mountpaths.path("mp1")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().decode().strip())
    age(folder)
    assert sweep_temporary(path) == 0
    holder.kill()
    holder.communicate()
    assert sweep_temporary(path) == 1
    assert list((path / "tmp").iterdir()) == []


HOLDER = """
import sys
from pathlib import Path
from shoal_store.mountpaths import MountpathFolder, Mountpaths, TemporaryFolder
folder = TemporaryFolder(Mountpaths([MountpathFolder("mp1", Path(sys.argv[1]))])).path("mp1")
(folder / "unfinished").write_bytes(b"x")
print(folder, flush=True)
sys.stdin.read()
"""


def test_a_folder_that_was_just_made_is_left_for_the_next_sweep(mountpaths: Mountpaths) -> None:
    """Its process may be between making it and locking it."""
    path = mountpaths.path("mp1")
    folder = path / "tmp" / "12345-new"
    folder.mkdir()
    assert sweep_temporary(path) == 0
    age(folder)
    assert sweep_temporary(path) == 1
    assert not folder.exists()


def test_a_file_that_is_not_ours_does_not_stop_the_sweep(mountpaths: Mountpaths) -> None:
    path = mountpaths.path("mp1")
    stray, dead = path / "tmp" / "notes.txt", path / "tmp" / "12345-dead"
    stray.write_bytes(b"an administrator's")
    dead.mkdir()
    age(stray)
    age(dead)
    assert sweep_temporary(path) == 1
    assert list((path / "tmp").iterdir()) == [stray]


def test_a_closed_temporary_folder_is_gone(mountpaths: Mountpaths) -> None:
    temporary = TemporaryFolder(mountpaths)
    (temporary.path("mp2") / "unfinished").write_bytes(b"x")
    temporary.close()
    assert [list((folder.path / "tmp").iterdir()) for folder in mountpaths.all] == [[], [], []]


def test_a_filesystem_has_used_and_available_bytes(tmp_path: Path) -> None:
    used, available = available_bytes(tmp_path)
    assert used > 0
    assert available > 0


def test_a_mountpath_that_is_gone_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="look at the disk"):
        available_bytes(tmp_path / "gone")
