"""Power loss: whatever the disk may legally have lost, nothing acknowledged is lost, and no sync is there in vain.

The workload runs under strace, which sees every write, rename and sync, those of LMDB too (its pages by pwrite, its
meta page through a descriptor with O_DSYNC). `support.power_disk` says what a power loss may leave of it.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shoal_core.errors import ObjectNotFound, ShoalError
from shoal_store.fsck import verify
from support.engines import get, unstarted_engine
from support.power_disk import Disk, Mercy, materialise
from support.power_trace import COMMAND, Event, Trace
from support.power_workload import plan

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("SHOAL_POWER_SEED", "7"))
WRITING_POINTS = 30
TESTS = Path(__file__).parents[1]
STORE = TESTS.parent / "lib" / "shoal_store"
ORPHANS = frozenset({"orphan-chunk", "orphan-manifest", "orphan-payload"})

LABELS = (
    "mountpath", "unfinished", "data folders", "folders", "identity", "index name",
    "chunk data", "chunk name", "manifest data", "manifest name",
)  # fmt: skip
"""Every sync of the engine, as `durability` names them."""
ELSEWHERE = {"mountpath states"}
"""In the target's state folder: no object depends on it, and this workload keeps none."""


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: the states are many, and the real disk has been asked already."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="shoal-power-") as folder:
        yield Path(folder)


def record(folder: Path, *left_out: str) -> tuple[list[Event], str]:
    """Run the workload; its events, and the path that they are below."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    root, marks, output = folder / "root", folder / "marks", folder / "trace"
    root.mkdir()
    workload = [
        sys.executable,
        str(TESTS / "support" / "power_workload.py"),
        str(root),
        str(marks),
        str(SEED),
    ]
    environment = os.environ | {"PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*COMMAND, "-o", str(output), *workload, *left_out]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if "ptrace" in result.stderr and "not permitted" in result.stderr:
        pytest.skip("strace may not trace here")
    assert result.returncode == 0, result.stderr
    return Trace(root, marks).read(output), str(root)


def crash_points(events: Sequence[Event], chance: random.Random) -> list[int]:
    """Before every sync while the store is made, anywhere while objects are written, and the very end."""
    begun = next(index for index, event in enumerate(events) if event.call == "mark")
    making = [index for index, event in enumerate(events[:begun]) if event.call.startswith("sync")]
    return [*making, *chance.sample(range(begun, len(events)), WRITING_POINTS), len(events)]


def states(events: Sequence[Event], chance: random.Random) -> Iterator[tuple[int, Mercy]]:
    for point in crash_points(events, chance):
        for mercy in Mercy:
            yield point, mercy


def allowed(events: Sequence[Event]) -> dict[str, list[bytes | None]]:
    """What each name may hold now: the outcome of its last acknowledged step, or of one that was begun since."""
    outcomes: dict[str, list[bytes | None]] = {}
    steps = plan(SEED)
    marks = b"".join(event.data for event in events if event.call == "mark").decode().splitlines()
    for word, writer, number in (mark.split() for mark in marks):
        step = steps[int(writer)][int(number)]
        found = outcomes.setdefault(step.name, [None])
        if word == "begin":
            found.append(step.data)
        else:
            outcomes[step.name] = [step.data]
    return outcomes


def loss(events: Sequence[Event], root: str, point: int, mercy: Mercy, memory: Path) -> str:
    """What is wrong with the store after a power loss at `point`; "" if nothing is."""
    folder = memory / "state"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    chance = random.Random(f"{SEED}-{point}")
    materialise(Disk.after(events, point).left(root, mercy, chance), root, folder)
    try:
        return asyncio.run(missing(folder, allowed(events[:point])))
    except ShoalError as error:
        return f"{type(error).__name__}: {error.message}"


async def missing(folder: Path, expected: dict[str, list[bytes | None]]) -> str:
    folders = {name: folder / "disks" / name for name in ("mp1", "mp2")}
    engine = unstarted_engine(folders)
    try:
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


def test_nothing_acknowledged_is_lost_in_200_states(tmp_path: Path, memory: Path) -> None:
    events, root = record(tmp_path)
    checked = 0
    for point, mercy in states(events, random.Random(SEED)):
        assert not loss(events, root, point, mercy, memory), f"seed {SEED}, event {point}, {mercy.name}"
        checked += 1
    assert checked >= 200


@pytest.mark.parametrize("label", [*LABELS, "lmdb"])
def test_a_sync_that_is_left_out_loses_something(label: str, tmp_path: Path, memory: Path) -> None:
    events, root = record(tmp_path, label)
    chance = random.Random(SEED)
    assert any(loss(events, root, *state, memory) for state in states(events, chance)), (
        f"no state of seed {SEED} misses the sync of {label!r}"
    )


def test_no_sync_is_without_its_test() -> None:
    source = "".join(path.read_text() for path in sorted(STORE.glob("*.py")))
    labels = set(re.findall(r'sync_(?:data|directory)\([^\n]*, "([^"]+)"\)', source))
    labels |= {
        f"{what} {part}"
        for what in re.findall(r'what="(chunk|manifest)"', source)
        for part in ("data", "name")
    }
    assert labels == set(LABELS) | ELSEWHERE
