"""One operation of the engine, again and again, each time with another of its system calls failing.

`python -m support.fault_points <folder> <operation> <fault>...` runs in a process that has `faulty_disk` preloaded,
and prints a `Tally` as JSON; without a fault, which calls there are. Each time begins with a copy of the same store,
and ends with the operation done, the store closed, checked by fsck, and opened once more.
"""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shoal_core.errors import (
    ConfigurationError,
    DataCorrupt,
    InternalError,
    MountpathUnavailable,
    OutOfSpace,
    ShoalError,
    Unavailable,
)
from shoal_core.telemetry import configure_logging
from shoal_store.disk_faults import FaultLimits
from shoal_store.engine import open_engine
from shoal_store.fsck import verify
from shoal_store.mountpath_states import MountpathStates
from support.engines import Fence, mountpath_folders, settled, stored
from support.fault_operations import (
    BYSTANDERS,
    OPERATIONS,
    Contents,
    Operation,
    Scene,
    WrongBytes,
    forget_uploads,
    found,
    prepare,
)
from support.faulty_disk import ALL_CALLS, FAULTS, MOVING, WRITING, Fault, FaultControl, Manner, Mode
from support.stores import ALL_SLOTS, CLUSTER_ID

ACT_SECONDS_MAX = 30.0
NEVER = FaultLimits(1_000_000, 1.0)
"""Faults that are borne: each time has one, so the mountpath would not be given up anyway."""
GROWING = WRITING - {"close", "fsync", "fdatasync"}
"""What fails on and on while a disk is full."""

MARKS = ("/begin-of-the-operation", "/end-of-the-operation")

KNOWN = {
    "full-once": Fault("full-once", errno.ENOSPC, calls=WRITING),
    "full": Fault("full", errno.ENOSPC, mode=Mode.ONWARDS, calls=GROWING),
    "EIO": Fault("EIO", errno.EIO),
    "EIO-afterwards": Fault(
        "EIO-afterwards", errno.EIO, Manner.AFTERWARDS, calls=ALL_CALLS - {"open", "create"}
    ),
    "EROFS": Fault("EROFS", errno.EROFS, calls=WRITING),
    "short": Fault("short", 0, Manner.HALF, calls=MOVING),
    "EINTR": Fault("EINTR", errno.EINTR),
}


class Tally(msgspec.Struct):
    """Of one operation."""

    points: int = 0
    calls: dict[str, int] = {}
    """Which calls were made to fail, how often."""
    outcomes: dict[str, int] = {}
    complaints: list[str] = []


@dataclass
class Point:
    operation: Operation
    fault: Fault
    when: int
    call: str = ""
    """That failed."""
    error: Exception | None = None

    def __str__(self) -> str:
        outcome = "was done" if self.error is None else f"{type(self.error).__name__}: {self.error}"
        return f"{self.operation.name}, {self.fault.name} at {self.when} ({self.call}): {outcome}"

    @property
    def is_unknown(self) -> bool:
        return isinstance(self.error, ShoalError) and self.error.metadata.get("outcome") == "unknown"


class Complaint(Exception):
    pass


class Points:
    """All of one operation."""

    def __init__(self, folder: Path, control: FaultControl, operation: Operation) -> None:
        self._folder = folder
        self._control = control
        self._operation = operation
        self._outcomes: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._complaints: list[str] = []

    async def run(self, faults: list[Fault]) -> Tally:
        await self._make_template()
        points = 0
        for fault in faults:
            when = 1
            while await self._is_point(fault, when):
                when += 1
            points += when - 1
        return Tally(points, dict(self._calls), dict(self._outcomes), self._complaints)

    async def counted(self) -> Tally:
        """The calls of the operation when none fails, between two marks for whoever traces this process."""
        await self._make_template()
        copy_anew(self._folder / "template", self._folder / "store")
        scene = await opened(self._folder / "store")
        self._control.count()
        show(MARKS[0])
        await self._operation.act(scene)
        # What was replaced goes after the answer: without waiting for it, one mark or the other may come in between.
        await settled(scene.engine)
        show(MARKS[1])
        self._control.disarm()
        await scene.engine.stop()
        return Tally(self._control.seen, dict(Counter(call.split()[0] for call in self._control.log())))

    async def _make_template(self) -> None:
        scene = await opened(self._folder / "template")
        await prepare(scene, self._operation)
        await settled(scene.engine)
        await scene.engine.stop()

    async def _is_point(self, fault: Fault, when: int) -> bool:
        """Whether the operation has so many calls."""
        folder = self._folder / "store"
        copy_anew(self._folder / "template", folder)
        point = Point(self._operation, fault, when)
        try:
            return await self._try(point, folder)
        except Complaint as complaint:
            self._complaints.append(f"{point}: {complaint}")
        except Exception as error:
            self._complaints.append(f"{point}: then {type(error).__name__}: {error}")
        finally:
            self._control.disarm()
        return True

    async def _try(self, point: Point, folder: Path) -> bool:
        scene = await opened(folder)
        try:
            descriptors = descriptors_below(folder)
            if not await self._act(scene, point):
                return False
            await self._judge(scene, point)
            again = await self._again(scene, point, folder)
            scene = again or scene
            await forget_uploads(scene)
            await settled(scene.engine)
            if again is None:
                now = descriptors_below(folder)
                expect(now == descriptors, f"descriptors are left: {Counter(now) - Counter(descriptors)}")
            left = [path for path in stored(folder) if "tmp" in path.parts]
            expect(not left, f"unfinished files are left: {left}")
        finally:
            self._control.disarm()
            await scene.engine.stop()
        self._check_closed(point, folder)
        scene = await opened(folder)
        try:
            expect(await found(scene, self._operation.new) == self._operation.new, "lost by a restart")
            expect(await found(scene, BYSTANDERS) == BYSTANDERS, "others lost by a restart")
        finally:
            await scene.engine.stop()
        return True

    async def _act(self, scene: Scene, point: Point) -> bool:
        """Whether a call failed."""
        self._control.arm(point.fault, point.when)
        try:
            async with asyncio.timeout(ACT_SECONDS_MAX):
                await self._operation.act(scene)
        except Exception as error:
            point.error = error
        on_and_on = point.fault.mode is Mode.ONWARDS and not self._operation.of_mountpaths
        if on_and_on and self._control.failed:
            expect(await found(scene, BYSTANDERS) == BYSTANDERS, "reads of others stop")
        self._control.disarm()
        if not self._control.failed:
            expect(point.error is None, "fails without a fault")
            return False
        point.call = next(call[1:] for call in self._control.log() if call.startswith("!"))
        self._calls[point.call.split()[0]] += 1
        self._outcomes["done" if point.error is None else type(point.error).__name__] += 1
        return True

    async def _judge(self, scene: Scene, point: Point) -> None:
        error = point.error
        if isinstance(error, WrongBytes):
            raise Complaint("wrong bytes")
        expect(error is None or isinstance(error, ShoalError), "an error that no table knows")
        expect(not isinstance(error, InternalError), "an error that says it is a bug")
        if point.fault.error == errno.ENOSPC:
            expect(error is None or isinstance(error, OutOfSpace), "a full disk is not said to be full")
        elif error is not None:
            kinds = (Unavailable, DataCorrupt, OutOfSpace, ConfigurationError)
            expect(isinstance(error, kinds), "an error of another kind")
            # What was read was right, and may not be called damaged.
            expect(not isinstance(error, DataCorrupt), "called damaged")
        self._check_unretried_syncs(point)
        if self._operation.of_mountpaths and (error is not None or not scene.is_whole):
            return
        seen = await found(scene, self._operation.new)
        self._check_contents(point, seen)
        expect(await found(scene, BYSTANDERS) == BYSTANDERS, "others are lost")

    def _check_contents(self, point: Point, seen: Contents) -> None:
        old, new = self._operation.old, self._operation.new
        if point.error is None:
            expect(seen == new, "acknowledged and lost")
        elif not self._operation.whole:
            expect(all(held in (old[place], new[place]) for place, held in seen.items()), "torn")
        elif point.is_unknown:
            expect(seen in (old, new), "torn")
        else:
            expect(seen == old, "refused, and yet changed")

    def _check_unretried_syncs(self, point: Point) -> None:
        """Of files that a write made: the index syncs its one file for each transaction, which has pages of its own,
        and a folder is synced for each name. An interrupted sync has not failed."""
        log = self._control.log()
        failed = next(number for number, call in enumerate(log) if call.startswith("!"))
        call, _, file = log[failed][1:].partition(" ")
        if call in ("fsync", "fdatasync") and "/tmp/" in file and point.fault.error != errno.EINTR:
            expect(f"{call} {file}" not in log[failed + 1 :], "a sync is repeated")

    async def _again(self, scene: Scene, point: Point, folder: Path) -> Scene | None:
        """The operation without a fault; the engine, if it had to be opened anew for that."""
        try:
            await self._operation.act(scene)
            return None
        except Unavailable as error:
            expect("restart" in error.message or isinstance(error, MountpathUnavailable), f"then {error}")
        self._outcomes["restarted"] += 1
        await scene.engine.stop()
        scene = await opened(folder)
        await self._operation.act(scene)
        return scene

    def _check_closed(self, point: Point, folder: Path) -> None:
        left = descriptors_below(folder)
        expect(not left, f"descriptors are left at the end: {left}")
        report = verify(mountpath_folders(folder))
        expect(not report.damages, f"damaged: {report.findings}")
        if report.orphans:
            self._outcomes["orphans"] += 1
            may = point.is_unknown or point.call.startswith(("unlink", "rename", "link"))
            expect(may, f"left behind: {report.findings}")


async def opened(folder: Path) -> Scene:
    folders, fence = mountpath_folders(folder), Fence()
    states = MountpathStates(list(folders), file=folder / "states.json", board=folder / "board")
    engine = open_engine(
        folders, cluster=CLUSTER_ID, target="t1", authority=fence, states=states, limits=NEVER
    )
    await asyncio.to_thread(engine.own, 1, ALL_SLOTS)
    await engine.start()
    return Scene(engine, fence)


def show(mark: str) -> None:
    """To a tracer."""
    with suppress(FileNotFoundError):
        os.stat(mark)


def copy_anew(template: Path, folder: Path) -> None:
    """The commands take a third of the time that Python's own functions take."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    subprocess.run(["cp", "-a", str(template), str(folder)], check=True)


def expect(holds: bool, complaint: str) -> None:
    if not holds:
        raise Complaint(complaint)


def descriptors_below(folder: Path) -> list[str]:
    links = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    # The board stays mapped until its object is collected.
    return sorted(link for link in links if link.startswith(f"{folder}/mp"))


def main() -> None:
    folder, name, *faults = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    configure_logging("faults", "t1", level="error")
    control = FaultControl(Path(os.environ[FAULTS]))
    points = Points(Path(folder), control, OPERATIONS[name])
    tally = asyncio.run(points.run([KNOWN[each] for each in faults]) if faults else points.counted())
    sys.stdout.buffer.write(msgspec.json.encode(tally))


if __name__ == "__main__":
    main()
