"""A disk whose system calls fail (strace makes them) is given up after a while, and the others go on."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shoal_core.errors import MountpathUnavailable, OutOfSpace, Unavailable
from shoal_store.disk_faults import DiskFaults, FaultLimits
from shoal_store.durability import storage_error
from shoal_store.mountpath_states import MountpathState, StateBoard
from support.disk_engine import engine_on, mountpath_of
from support.engines import BUCKET, get, put

PR_SET_PTRACER = 0x59616D61
LARGE = b"bytes" * 40_000


@contextmanager
def failing(call: str, error: str, mountpath: Path) -> Iterator[None]:
    """That system call of this process fails on the folders of the mountpath's chunk files, and on those files."""
    places = [*(mountpath / "data").iterdir(), *(mountpath / "data").glob("*/*")]
    command = ["strace", "-f", "-p", str(os.getpid()), "-o", "/dev/null", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:error={error}"]
    command += [word for place in places for word in ("-P", str(place))]
    # Where only ancestors may trace a process (Yama), its child may when it says so.
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stderr is not None
            while "attached" not in (line := tracer.stderr.readline()):
                assert line, "strace has ended before it was attached"
            yield
        finally:
            tracer.terminate()


async def test_a_disk_whose_syncs_fail_is_given_up_and_takes_no_more_chunks(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        names = [name for name in map(str, range(100)) if mountpath_of(engine, name) != "mp2"]
        refused: list[str] = []
        with failing("fsync", "EIO", tmp_path / "mp2"):
            for name in names:
                try:
                    await put(engine, name, LARGE)
                except Unavailable as error:
                    refused.append(error.message)
        assert len([text for text in refused if "Input/output error" in text]) == len(refused)
        assert len(refused) == FaultLimits().faults_max
        assert engine.states.of("mp2").state is MountpathState.FAILED
        assert "3 I/O errors within 60 s" in engine.states.of("mp2").reason
        assert await get(engine, names[-1]) == LARGE

    async with engine_on(tmp_path) as engine:
        assert engine.states.of("mp2").state is MountpathState.FAILED
        await engine.enable("mp2")
        await put(engine, next(n for n in map(str, range(100)) if mountpath_of(engine, n) == "mp2"), b"back")


async def test_a_disk_whose_reads_fail_is_given_up(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        for name in map(str, range(6)):
            await put(engine, name, LARGE)
        record, _ = await asyncio.to_thread(engine.reader.record, BUCKET, "0")
        mountpath = record.chunks[0].mountpath
        with failing("pread64", "EIO", tmp_path / mountpath):
            for _ in range(3):
                with pytest.raises(Unavailable, match="Input/output error"):
                    await get(engine, "0")
        with pytest.raises(MountpathUnavailable):
            await get(engine, "0")
        assert engine.states.of(mountpath).state is MountpathState.FAILED


def test_what_is_no_fault_of_the_disk_is_not_counted() -> None:
    board = StateBoard.private(["mp1"])
    faults = DiskFaults(board, limits=FaultLimits(1, 60.0))
    for number in (errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.EMFILE):
        with suppress(OSError), faults.watching("mp1"):
            raise OSError(number, "no fault")
    with suppress(OutOfSpace), faults.watching("mp1"):
        raise storage_error(OSError(errno.ENOSPC, "full"), "write") from OSError(errno.ENOSPC, "full")
    assert board.is_available("mp1")


def test_errors_that_lie_further_apart_than_the_window_are_borne() -> None:
    board, now = StateBoard.private(["mp1", "mp2"]), [0.0]
    told: list[tuple[str, str]] = []
    faults = DiskFaults(
        board,
        limits=FaultLimits(2, 10.0),
        failed=lambda mountpath, reason: told.append((mountpath, reason)),
        clock=lambda: now[0],
    )
    for now[0] in (0.0, 20.0, 40.0):
        faults.met("mp1", "broken")
    assert board.is_available("mp1")
    now[0] = 45.0
    faults.met("mp1", "broken")
    assert [board.is_available("mp1"), board.is_available("mp2")] == [False, True]
    assert told == [("mp1", "2 I/O errors within 10 s, last: broken")]


async def test_what_a_gateway_found_failed_the_target_keeps(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        DiskFaults(
            StateBoard.shared(list(engine.indexes), tmp_path / "board"), limits=FaultLimits(1, 1.0)
        ).met("mp3", "EIO")
        engine.states.take_from_board()
        assert engine.states.of("mp3").state is MountpathState.FAILED
    async with engine_on(tmp_path) as engine:
        assert engine.states.of("mp3").state is MountpathState.FAILED
