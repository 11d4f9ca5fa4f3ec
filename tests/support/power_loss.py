"""A workload recorded under strace, and what a power loss at any moment of it would leave: does the store stand it?

strace sees every write, rename and sync, those of LMDB too (its pages by pwrite, its meta page through a descriptor
with O_DSYNC). `support.power_disk` says what a power loss may leave of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from shoal_core.errors import ObjectNotFound, ShoalError
from shoal_store.fsck import verify
from shoal_store.index_copies import copies_of
from shoal_store.mountpath_states import MountpathState, read_kept
from shoal_store.rebuild import ASIDE, LIST_FILE
from support.engines import get, unstarted_engine
from support.power_disk import Disk, Mercy, materialise
from support.power_trace import COMMAND, Event, Trace
from support.power_workload import STATES, Kinds, digest_of_index, engine_folders, plan

TESTS = Path(__file__).parents[1]
WRITING_POINTS = 30
RECORD_SECONDS_MAX = 280
ORPHANS = frozenset({"orphan-chunk", "orphan-manifest", "orphan-payload"})


@dataclass(frozen=True)
class Recording:
    """Of one workload."""

    seed: int
    kinds: Kinds
    events: Sequence[Event]
    root: str

    def crash_points(self, chance: random.Random) -> list[int]:
        """Before every sync while the store is made, anywhere while objects are written, and the very end. Of a
        rebuild, anywhere in it."""
        marks = [index for index, event in enumerate(self.events) if event.call == "mark"]
        begun, making = marks[0], list[int]()
        if self.kinds == "rebuild":
            begun = next(index for index in marks if self.events[index].data.startswith(b"rebuild begins"))
        else:
            making = [
                index for index, event in enumerate(self.events[:begun]) if event.call.startswith("sync")
            ]
        later = range(begun, len(self.events))
        return [*making, *chance.sample(later, min(WRITING_POINTS, len(later))), len(self.events)]

    def states(self, chance: random.Random, draws: int = 1) -> Iterator[State]:
        """With more `draws`, after all others: again what a disk that kept some of it may have left."""
        points = sorted(self.crash_points(chance))
        for draw in range(draws):
            for point in points:
                disk = Disk.after(self.events, point)
                for mercy in (Mercy.SOME,) if draw else Mercy:
                    yield State(self, point, mercy, disk, draw)

    def allowed(self, point: int) -> dict[str, list[bytes | None]]:
        """What each name may hold: the outcome of its last acknowledged step, or of one that was begun since."""
        outcomes: dict[str, list[bytes | None]] = {}
        steps = plan(self.seed, self.kinds)
        for word, *numbers in self._marks(point):
            if word not in ("begin", "ack"):
                continue
            writer, number = map(int, numbers)
            step = steps[writer][number]
            found = outcomes.setdefault(step.name, [None])
            if word == "begin":
                found.append(step.data)
            else:
                outcomes[step.name] = [step.data]
        return outcomes

    def copied(self, point: int) -> dict[str, int]:
        """When the last copy of each mountpath's index was made that is in its place."""
        return {which: int(made[0]) for word, which, *made in self._marks(point) if word == "copied"}

    def told(self, point: int, word: str) -> str:
        """What the workload said last after `word`; "" for nothing yet."""
        return "".join([what for said, what, *_ in self._marks(point) if said == word][-1:])

    def _marks(self, point: int) -> Iterator[list[str]]:
        marks = b"".join(event.data for event in self.events[:point] if event.call == "mark")
        return (mark.split() for mark in marks.decode().splitlines())


@dataclass(frozen=True)
class State:
    """After a power loss at `point`."""

    recording: Recording
    point: int
    mercy: Mercy
    disk: Disk
    draw: int = 0

    def __str__(self) -> str:
        return f"workload {self.recording.seed}, event {self.point}, {self.mercy.name}, draw {self.draw}"

    def loss(self, memory: Path) -> str:
        """What is wrong with the store then; "" if nothing is."""
        folder = memory / "state"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        chance = random.Random(f"{self.recording.seed}-{self.point}-{self.draw}")
        root = self.recording.root
        materialise(self.disk.left(root, self.mercy, chance), root, folder)
        try:
            lost = lost_copies(folder, self.recording.copied(self.point)) or self._lost_rebuild(folder)
            return lost or asyncio.run(missing(folder, self.recording.allowed(self.point)))
        except (ShoalError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    def _lost_rebuild(self, folder: Path) -> str:
        """The new index in its place, the old one and the list of doubts aside; and which mountpaths serve."""
        kept = read_kept(folder / STATES)
        if disabled := self.recording.told(self.point, "disabled"):
            found = kept.get(disabled)
            if found is None or found.state is not MountpathState.DISABLED:
                return f"that {disabled} was disabled"
        if rebuilt := self.recording.told(self.point, "rebuilt"):
            if digest_of_index(folder) != rebuilt:
                return "the rebuilt index"
            asides = list((engine_folders(folder)["mp1"] / ASIDE).glob("*"))
            if [(aside / "index" / "data.mdb").exists() for aside in asides] != [True]:
                return "the old index"
            json.loads((asides[0] / LIST_FILE).read_bytes() or b"{")
        return ""


def record(folder: Path, *left_out: str, seed: int, kinds: Kinds = "core") -> Recording:
    """Run the workload, without the syncs of these labels."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    root, marks, output = folder / "root", folder / "marks", folder / "trace"
    root.mkdir(parents=True)
    script = str(TESTS / "support" / "power_workload.py")
    workload = [sys.executable, script, str(root), str(marks), str(seed), kinds, *left_out]
    environment = os.environ | {"PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [*COMMAND, "-o", str(output), *workload],
        env=environment,
        capture_output=True,
        text=True,
        timeout=RECORD_SECONDS_MAX,
        check=False,
    )
    if "ptrace" in result.stderr and "not permitted" in result.stderr:
        pytest.skip("strace may not trace here")
    assert result.returncode == 0, result.stderr
    return Recording(seed, kinds, Trace(root, marks).read(output), str(root))


def lost_copies(folder: Path, copied: dict[str, int]) -> str:
    """There is always one that is no older than the last one that was in its place."""
    paths = list(engine_folders(folder).values())
    for mountpath, made_ns in copied.items():
        made = [copy.description.made_ns for copy in copies_of(mountpath, paths) if copy.is_whole()]
        if max(made, default=0) < made_ns:
            return f"the copy of {mountpath} that was made at {made_ns}, there are {made}"
    return ""


async def missing(folder: Path, expected: dict[str, list[bytes | None]]) -> str:
    folders = engine_folders(folder)
    engine = unstarted_engine(folders)
    try:
        if len(engine.mountpaths.available()) < len(folders):
            return f"only {[folder.id for folder in engine.mountpaths.available()]} serve"
        for name, contents in expected.items():
            try:
                found: bytes | None = await get(engine, name)
            except ObjectNotFound:
                found = None
            if found not in contents:
                return f"{name[:20]}: {None if found is None else len(found)} bytes that nobody wrote last"
    finally:
        engine.close()
    damages = [finding for finding in verify(folders).findings if finding.kind not in ORPHANS]
    return "; ".join(f"{finding.kind} {finding.what} {finding.detail}" for finding in damages)
