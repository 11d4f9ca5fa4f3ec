"""Shared memory: seen by another process, and a clear error instead of a crash when there is no room for it."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal_client.shared_buffer import SharedBuffer
from shoal_core.errors import OutOfSpace

MIB = 1 << 20


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory with room for 1 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_another_process_sees_what_is_written() -> None:
    with SharedBuffer.allocate(MIB) as buffer:
        assert buffer.shared
        buffer.memory[-5:] = b"hello"
        if not (child := os.fork()):
            with mmap.mmap(buffer.descriptor, MIB) as seen:
                os._exit(0 if seen[-5:] == b"hello" else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_too_little_room_is_an_error_before_the_first_byte(tiny: Path) -> None:
    with pytest.raises(OutOfSpace, match="has no room for 2097152 bytes"):
        SharedBuffer.allocate(2 * MIB, folder=tiny)
    assert os.statvfs(tiny).f_bfree * os.statvfs(tiny).f_bsize == MIB


def test_ordinary_memory_serves_where_the_caller_allows_it(tiny: Path) -> None:
    with SharedBuffer.allocate(2 * MIB, folder=tiny, fallback=True) as buffer:
        assert not buffer.shared
        buffer.memory[-1] = 7
        assert len(buffer.memory) == 2 * MIB


def test_closing_twice_is_harmless() -> None:
    buffer = SharedBuffer.allocate(10)
    buffer.close()
    buffer.close()
