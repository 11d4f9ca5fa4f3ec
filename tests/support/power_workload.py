"""A workload of the engine that tells, in a file, what it has begun and what was acknowledged. Run by strace.

python power_workload.py <folder of the mountpaths> <marks> <seed> [label of a sync to leave out | lmdb]
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import lmdb

from shoal_core.objects import CopyRequest
from shoal_store import durability
from shoal_store.engine import Engine
from support.engines import BUCKET, put, put_in_chunks, put_in_parts, unstarted_engine

WRITERS = 4
STEPS = 14
CHUNK_BYTES = 20_000
SIZES = {
    "inline": (0, 3_000),
    "chunk": (17_000, 60_000),
    "chunks": (CHUNK_BYTES + 17_000, 4 * CHUNK_BYTES),
    "parts": (2, 60_000),
    "copy": (17_000, 60_000),
}


@dataclass(frozen=True)
class Step:
    """One change of one object by one writer; a writer's steps follow each other."""

    writer: int
    number: int
    kind: str
    name: str
    data: bytes | None
    """None: deleted."""


def plan(seed: int) -> list[list[Step]]:
    """The steps of each writer, the same for a seed. Every name is written by one writer only."""
    return [steps_of(writer, random.Random(f"{seed}-{writer}")) for writer in range(WRITERS)]


def steps_of(writer: int, chance: random.Random) -> list[Step]:
    steps: list[Step] = []
    present: set[str] = set()
    for number in range(STEPS):
        name = f"w{writer}/{chance.randrange(4)}" + ("/long" * 100 if chance.random() < 0.2 else "")
        if name in present and chance.random() < 0.3:
            present.discard(name)
            steps.append(Step(writer, number, "delete", name, None))
            continue
        kind = chance.choice(list(SIZES))
        present.add(name)
        steps.append(Step(writer, number, kind, name, chance.randbytes(chance.randint(*SIZES[kind]))))
    return steps


async def work(engine: Engine, steps: list[Step], marks: int) -> None:
    for step in steps:
        mark(marks, "begin", step)
        if step.data is None:
            await engine.store.delete(BUCKET, step.name)
        elif step.kind == "chunks":
            await put_in_chunks(engine, step.name, step.data, CHUNK_BYTES)
        elif step.kind == "parts":
            await put_in_parts(engine.store, step.name, step.data)
        elif step.kind == "copy":
            await put_copy(engine, step.name, step.data)
        else:
            await put(engine, step.name, step.data)
        mark(marks, "ack", step)


async def put_copy(engine: Engine, name: str, data: bytes) -> None:
    """Of a source that is gone right afterwards."""
    source = f"source of {name}"
    await put(engine, source, data)
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, source, name))
    await engine.store.delete(BUCKET, source)


def mark(descriptor: int, word: str, step: Step) -> None:
    os.write(descriptor, f"{word} {step.writer} {step.number}\n".encode())


async def main(folder: Path, marks: Path, seed: int) -> None:
    descriptor = os.open(marks, os.O_WRONLY | os.O_CREAT)
    engine = unstarted_engine({name: folder / "disks" / name for name in ("mp1", "mp2")})
    await engine.start()
    await asyncio.gather(*(work(engine, steps, descriptor) for steps in plan(seed)))
    # As a power loss would find it.
    os._exit(0)


def leave_out(label: str) -> None:
    if label != "lmdb":
        durability.SKIPPED.add(label)
        return
    opened = lmdb.open
    vars(lmdb)["open"] = lambda *arguments, **named: opened(*arguments, **(named | {"sync": False}))


if __name__ == "__main__":
    for given in sys.argv[4:]:
        leave_out(given)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
