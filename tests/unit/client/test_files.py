"""Downloads into files: all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal_client.files import write_file


async def pieces(*parts: bytes, failing: bool = False) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if failing:
        raise OSError("connection lost")


async def test_file_is_replaced_when_all_of_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    told: list[int] = []
    await write_file(tmp_path / "f", pieces(b"new", b"er"), progress=told.append)
    assert (tmp_path / "f").read_bytes() == b"newer"
    assert told == [3, 2]


async def test_failed_download_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    told: list[int] = []
    with pytest.raises(OSError, match="connection lost"):
        await write_file(tmp_path / "f", pieces(b"new", failing=True), progress=told.append)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]
    assert sum(told) == 0


async def test_name_of_the_longest_length_can_be_written(tmp_path: Path) -> None:
    await write_file(tmp_path / ("x" * 255), pieces(b"data"))
    assert (tmp_path / ("x" * 255)).read_bytes() == b"data"
