"""A store damaged in many places, one after the other, and what reads, writes, `fsck` and `scrub` make of each.

`python -m support.damage_points <folder> <seed> <count> <seconds> <kinds>` prints a `Verdict` as JSON. Each look is in
a process of its own, since LMDB may die of what it finds on a page.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from shoal_core.errors import ConfigurationError, InternalError, ObjectNotFound, ShoalError
from shoal_core.telemetry import configure_logging
from shoal_store.bus_errors import read_to_the_end
from shoal_store.engine import Engine, open_engine
from shoal_store.fsck import verify
from shoal_store.scrub import scrub
from support.damages import ALL, ALWAYS, EXACT, MOUNTPATHS, Stores, expected, make_stores
from support.engines import BUCKET, Fence, get, mountpath_folders, put
from support.fault_points import copy_anew
from support.stores import ALL_SLOTS, CLUSTER_ID

LOOK_SECONDS_MAX = 60
Seen = TypeVar("Seen", bound=msgspec.Struct)
"""Has `wrong`, a list of what must never be."""


class Look(msgspec.Struct):
    """Of one process."""

    wrong: list[str] = []
    """What must never be: bytes of nobody, errors that no table knows."""
    refused: int = 0
    unwritten: int = 0
    """Writes refused: by a damaged list of free pages too, which neither fsck nor scrub reads yet."""
    hidden: int = 0
    """Objects that seem not to be there."""
    damages: int = 0
    """Found by fsck."""
    scrubbed: int = 0
    """Found by scrub."""
    opened: bool = True


class Verdict(msgspec.Struct):
    count: int = 0
    kinds: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    complaints: list[str] = []


def look_at(folder: Path) -> Look:
    folders = mountpath_folders(folder)
    look = Look()
    try:
        engine = open_engine(folders, cluster=CLUSTER_ID, target="t1", authority=Fence())
        engine.own(1, ALL_SLOTS)  # as every start does
    except ShoalError:
        look.opened = False
        return look
    asyncio.run(use(engine, look))
    check(look, folders)
    return look


async def use(engine: Engine, look: Look) -> None:
    """Reads everything, writes, and reads again."""
    await engine.start()
    held = {(ALWAYS, name): data for name, data in expected().items()}
    for again in (False, True):
        for (bucket, name), data in held.items():
            try:
                if await get(engine, name, bucket=bucket) != data:
                    look.wrong.append(f"{name} reads otherwise")
            except ObjectNotFound:
                look.hidden += 1
            except ShoalError as error:
                look.refused += 1
                note_untyped(look, error)
            except Exception as error:
                look.wrong.append(f"{name}: {type(error).__name__}: {error}")
        if not again:
            for number in range(4):
                await write(engine, f"new-{number}", look)
    try:
        steps = list(scrub(engine.indexes, engine.mountpaths))
        look.scrubbed = sum(len(step.findings) for step in steps)
    except Exception as error:
        look.scrubbed = 1
        if not isinstance(error, ShoalError):
            look.wrong.append(f"scrub: {type(error).__name__}: {error}")
    await engine.stop()


async def write(engine: Engine, name: str, look: Look) -> None:
    data = random.Random(name).randbytes(2_000)
    try:
        await put(engine, name, data, bucket=BUCKET)
        if await get(engine, name, bucket=BUCKET) != data:
            look.wrong.append(f"{name} was acknowledged and reads otherwise")
        await engine.store.delete(BUCKET, name)
    except ShoalError as error:
        look.unwritten += 1
        note_untyped(look, error)
    except Exception as error:
        look.wrong.append(f"write: {type(error).__name__}: {error}")


def note_untyped(look: Look, error: ShoalError) -> None:
    if isinstance(error, InternalError):
        look.wrong.append(f"said to be a bug: {error.message}")


def check(look: Look, folders: dict[str, Path]) -> None:
    try:
        look.damages = verify(folders).damages
    except ConfigurationError:
        look.damages = 1
    except Exception as error:
        look.wrong.append(f"fsck: {type(error).__name__}: {error}")


def apart(work: Callable[[], Seen], type: type[Seen]) -> Seen | int:
    """In a process of its own: what it found, or the signal that ended it."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        signal.alarm(LOOK_SECONDS_MAX)
        try:
            os.write(writing, msgspec.json.encode(work()))
        except BaseException as error:
            os.write(writing, msgspec.json.encode({"wrong": [f"{error!r}"]}))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else msgspec.json.decode(answer, type=type)


def read_everything(folder: Path) -> Look:
    """As the next start does after a fatal signal."""
    for mountpath in MOUNTPATHS:
        read_to_the_end(folder / mountpath)
    return Look()


class Points:
    def __init__(self, stores: Stores, place: Path, seed: int) -> None:
        self._stores = stores
        self._place = place
        self._seed = seed
        self._kinds: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._complaints: list[str] = []

    def run(self, kinds: list[str], count: int, seconds: float) -> Verdict:
        end, done = time.monotonic() + seconds, 0
        while done < count and time.monotonic() < end:
            self._point(kinds[done % len(kinds)], done)
            done += 1
        return Verdict(done, dict(self._kinds), dict(self._outcomes), self._complaints)

    def _point(self, kind: str, number: int) -> None:
        copy_anew(self._stores.new, self._place)
        what = ALL[kind](self._place, self._stores, random.Random(f"{self._seed}-{number}"))
        self._kinds[kind] += 1
        look = apart(lambda: look_at(self._place), Look)
        for complaint in self._complaints_of(kind, look):
            self._complaints.append(f"seed {self._seed}, {number}, {kind}, {what}: {complaint}")

    def _complaints_of(self, kind: str, look: Look | int) -> list[str]:
        if isinstance(look, int):
            self._outcomes[f"{kind}: {signal.Signals(look).name}"] += 1
            again = apart(lambda: read_everything(self._place), Look)
            if isinstance(again, Look) and not again.wrong:
                return [f"died of {signal.Signals(look).name}, and the next start would not find it"]
            return []
        if not look.opened:
            self._outcomes[f"{kind}: refused at the start"] += 1
            return []
        harmed = look.refused or look.hidden
        found = look.damages and look.scrubbed
        complaints = list(look.wrong)
        self._outcomes[f"{kind}: {'found' if look.damages else 'nothing to find'}"] += 1
        if (harmed or kind in EXACT) and not found:
            complaints.append(f"not found: {look}")
        return complaints


def main() -> None:
    folder, seed, count, seconds, *kinds = sys.argv[1:]
    configure_logging("damage", "t1", level="error")
    Path(folder).mkdir(parents=True, exist_ok=True)
    stores = asyncio.run(make_stores(Path(folder)))
    points = Points(stores, Path(folder) / "store", int(seed))
    verdict = points.run(kinds or list(ALL), int(count), float(seconds))
    sys.stdout.buffer.write(msgspec.json.encode(verdict))


if __name__ == "__main__":
    main()
