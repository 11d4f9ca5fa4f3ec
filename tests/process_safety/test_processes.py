"""One target that commits, two gateways that write, a reader that checks: four processes on the same disks."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shoal_store.fsck import verify
from support.engines import get, mountpath_folders, running_engine
from support.four_processes import OWN_NAMES, SHARED_NAMES, number_in

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
WRITES_MIN = 200
PATIENCE_SECONDS = 60.0


class Member:
    """One of the processes; collects what it says."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def hear(self, count: int) -> None:
        """Until it has said so many lines in all."""
        assert self._process.stdout is not None
        while len(self.lines) < count:
            line = await self._process.stdout.readline()
            assert line, f"ended with {await self._process.wait()} after {self.lines[-3:]}"
            self.lines.append(line.decode().strip())

    async def end(self) -> None:
        """Asks it to stop; it must do so without an error."""
        output, _ = await self._process.communicate(b"stop\n")
        self.lines += output.decode().splitlines()
        assert self._process.returncode == 0

    async def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        output, _ = await self._process.communicate()
        # The last line may have been cut.
        self.lines += [line for line in output.decode().splitlines(keepends=True) if line.endswith("\n")]

    def acknowledged(self) -> dict[str, int]:
        """The number of the last write of each name."""
        found = (line.split() for line in self.lines if line.startswith("ack"))
        return {name: int(number) for _, name, number in found}


@asynccontextmanager
async def member(role: str, folder: Path, name: str) -> AsyncIterator[Member]:
    script = TESTS / "support" / "four_processes.py"
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), role, str(folder), name, stdin=PIPE, stdout=PIPE, env=environment
    )
    try:
        started = Member(process)
        await started.hear(1)
        yield started
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_four_processes_do_at_once_is_right_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        member("target", tmp_path, "t1") as target,
        member("gateway", tmp_path, "g1") as first,
        member("gateway", tmp_path, "g2") as second,
        member("reader", tmp_path, "r1") as reader,
    ):
        await asyncio.gather(first.hear(WRITES_MIN), second.hear(WRITES_MIN))
        await second.kill()
        await first.hear(2 * WRITES_MIN)
        await first.end()
        await reader.end()
        await target.end()
    assert int(reader.lines[-1].split()[1]) > 0
    await check_disks(tmp_path, ended=first.acknowledged(), killed=second.acknowledged())


async def check_disks(folder: Path, *, ended: dict[str, int], killed: dict[str, int]) -> None:
    assert verify(mountpath_folders(folder)).clean
    async with running_engine(folder) as engine:
        for number in range(OWN_NAMES):
            name = f"g1/{number}"
            assert number_in(name, await get(engine, name)) == ("g1", ended[name])
            name = f"g2/{number}"
            _, found = number_in(name, await get(engine, name))
            assert killed[name] <= found <= killed[name] + 1
        for number in range(SHARED_NAMES):
            name = f"shared/{number}"
            number_in(name, await get(engine, name))
