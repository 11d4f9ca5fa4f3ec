"""Parallel downloads into files: resumed after a kill, verified, and never a mixture."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shoal_client.bucket import BucketClient
from shoal_client.download import Begun, PartialFile, download
from shoal_client.parallel import ParallelObject
from shoal_core.errors import ChecksumMismatch, Conflict
from shoal_core.objects import ByteRange, Checksum
from support.node import Nodes

RANGE = 100_000
CONTENT = os.urandom(20 * RANGE + 77)


class Stopped(Exception):
    """What ends a download in the middle here."""


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def beside(folder: Path, ending: str) -> Path:
    return folder / next(name for name in names(folder) if name.endswith(ending))


async def cut_off(bucket: BucketClient, destination: Path, *, after_bytes: int) -> int:
    """Begin a download and end it in the middle; returns the bytes that were there by then."""
    moved = 0

    def progress(count: int) -> None:
        nonlocal moved
        moved += count
        if moved >= after_bytes:
            raise Stopped

    with pytest.raises(Stopped):
        await bucket.download_parallel("a", destination, workers=2, range_bytes=RANGE, progress=progress)
    return moved


async def told(bucket: BucketClient, destination: Path) -> list[int]:
    counts: list[int] = []
    await bucket.download_parallel("a", destination, range_bytes=RANGE, progress=counts.append)
    return counts


@pytest.mark.parametrize("size", [0, 1, RANGE, len(CONTENT)])
async def test_file_has_the_bytes_and_nothing_is_left_beside_it(
    bucket: BucketClient, tmp_path: Path, size: int
) -> None:
    await bucket.put("a", CONTENT[:size])
    destination = tmp_path / ("x" * 255)
    await told(bucket, destination)
    assert destination.read_bytes() == CONTENT[:size]
    assert names(tmp_path) == [destination.name]


async def test_download_goes_on_where_it_was_cut_off(bucket: BucketClient, tmp_path: Path) -> None:
    await bucket.put("a", CONTENT)
    there = await cut_off(bucket, tmp_path / "a", after_bytes=10 * RANGE)
    assert "a" not in names(tmp_path)
    counts = await told(bucket, tmp_path / "a")
    assert counts[0] >= there
    assert sum(counts) == len(CONTENT)
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_range_that_was_damaged_on_disk_meanwhile_is_read_again(
    bucket: BucketClient, tmp_path: Path
) -> None:
    await bucket.put("a", CONTENT)
    there = await cut_off(bucket, tmp_path / "a", after_bytes=10 * RANGE)
    part = beside(tmp_path, ".part")
    data = bytearray(part.read_bytes())
    data[5] ^= 1
    part.write_bytes(data)
    counts = await told(bucket, tmp_path / "a")
    assert 0 < counts[0] <= len(CONTENT) - RANGE
    assert there > 0
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_state_that_was_cut_in_a_line_costs_that_range_alone(
    bucket: BucketClient, tmp_path: Path
) -> None:
    await bucket.put("a", CONTENT)
    await cut_off(bucket, tmp_path / "a", after_bytes=10 * RANGE)
    state = beside(tmp_path, ".state")
    state.write_bytes(state.read_bytes()[:-7])
    counts = await told(bucket, tmp_path / "a")
    assert counts[0] > 0
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_other_version_is_never_mixed_in(bucket: BucketClient, tmp_path: Path) -> None:
    await bucket.put("a", CONTENT)
    await cut_off(bucket, tmp_path / "a", after_bytes=10 * RANGE)
    await bucket.put("a", CONTENT[::-1])
    counts = await told(bucket, tmp_path / "a")
    assert counts[0] == 0
    assert (tmp_path / "a").read_bytes() == CONTENT[::-1]


async def test_object_that_is_overwritten_during_the_download_is_read_anew(
    bucket: BucketClient, tmp_path: Path
) -> None:
    await bucket.put("a", CONTENT)
    writing: list[asyncio.Task[object]] = []
    moved = 0

    def progress(count: int) -> None:
        nonlocal moved
        moved += count
        if not writing and moved:
            writing.append(asyncio.create_task(bucket.put("a", CONTENT[::-1])))

    await bucket.download_parallel("a", tmp_path / "a", workers=1, range_bytes=1000, progress=progress)
    await writing[0]
    assert (tmp_path / "a").read_bytes() in (CONTENT, CONTENT[::-1])
    assert moved == len(CONTENT)


async def test_two_downloads_to_one_file_are_refused(bucket: BucketClient, tmp_path: Path) -> None:
    info = await bucket.put("a", CONTENT)
    held = PartialFile(tmp_path / "a", Begun("b", "a", bytes(info.version), info.size, RANGE))
    with pytest.raises(Conflict, match="another process"):
        await bucket.download_parallel("a", tmp_path / "a")
    held.close()


async def test_whole_that_is_not_what_was_put_is_not_kept(bucket: BucketClient, tmp_path: Path) -> None:
    await bucket.put("a", CONTENT)

    class Wrong(ParallelObject):
        async def read(self, wanted: ByteRange, memory: memoryview, *, lane: int) -> None:
            await super().read(wanted, memory, lane=lane)
            memory[0] ^= 1

    right = await bucket.parallel("a")
    assert isinstance(right.info.checksum, Checksum)
    right.__class__ = Wrong
    with pytest.raises(ChecksumMismatch, match="nothing was kept"):
        await download(right, tmp_path / "a", bucket="b")
    assert names(tmp_path) == []


@pytest.mark.slow
async def test_command_that_was_killed_goes_on(
    bucket: BucketClient, live_nodes: Nodes, proxy_address: str, file_of_300_mib: Path, tmp_path: Path
) -> None:
    await bucket.put("a", file_of_300_mib)
    command = [sys.executable, "-m", "shoal_cli", "get", "--parallel", "4", "--grpc", proxy_address]
    command += ["--ca", str(live_nodes.ca), f"ais://{bucket.reference.name}/a", str(tmp_path / "a")]
    await asyncio.to_thread(kill_in_the_middle, command, tmp_path)
    assert "a" not in names(tmp_path)
    assert await asyncio.to_thread(subprocess.call, command) == 0
    same = await asyncio.to_thread(subprocess.call, ["cmp", str(file_of_300_mib), str(tmp_path / "a")])
    assert (same, names(tmp_path)) == (0, ["a"])


def kill_in_the_middle(command: list[str], folder: Path) -> None:
    """Once the state says that some ranges are on disk."""
    process = subprocess.Popen(command)
    while process.poll() is None:
        if any(len(state.read_bytes().splitlines()) > 8 for state in folder.glob("*.state")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL
