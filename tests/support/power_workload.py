"""A workload of the engine that tells, in a file, what it has begun and what was acknowledged. Run by strace.

Meanwhile indexes are copied: twice the same one, or, of all kinds, both. Of kind "rebuild", an index is made anew
afterwards, and a mountpath disabled.

python power_workload.py <folder> <marks> <seed> <core|all|rebuild> [label of a sync to leave out | lmdb]
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import lmdb

from shoal_core.multipart import Completion, PartChoice
from shoal_core.objects import BucketProperties, CopyRequest, PutRequest
from shoal_store import durability, index_copies
from shoal_store.engine import Engine
from shoal_store.mountpath_states import MountpathState, MountpathStates
from shoal_store.rebuild import rebuild_index
from shoal_store.rechunk import Step as Rechunked, rechunk
from support.engines import BUCKET, in_pieces, put, put_in_chunks, put_in_parts, unstarted_engine

WRITERS = 4
STATES = "mountpaths.json"
STEPS = 14
CHUNK_BYTES = 40_000
SIZES = {
    "inline": (0, 3_000),
    "chunk": (34_000, 60_000),
    "chunks": (CHUNK_BYTES + 34_000, 4 * CHUNK_BYTES),
    "parts": (2, 60_000),
    "copy": (200_000, 330_000),
}
"""The core of them: what has every sync at least once."""
MORE_SIZES = {"copied chunks": SIZES["chunks"], "rechunk": SIZES["chunks"], "append": (34_000, 60_000)}
Kinds = Literal["core", "all", "rebuild"]


@dataclass(frozen=True)
class Step:
    """One change of one object by one writer; a writer's steps follow each other."""

    writer: int
    number: int
    kind: str
    name: str
    data: bytes | None
    """None: deleted."""


def plan(seed: int, kinds: Kinds) -> list[list[Step]]:
    """The steps of each writer, the same for a seed. Every name is written by one writer only."""
    sizes = SIZES | MORE_SIZES if kinds == "all" else SIZES
    return [steps_of(writer, random.Random(f"{seed}-{writer}"), sizes) for writer in range(WRITERS)]


def steps_of(writer: int, chance: random.Random, sizes: Mapping[str, tuple[int, int]]) -> list[Step]:
    steps: list[Step] = []
    present: set[str] = set()
    for number in range(STEPS):
        name = f"w{writer}/{chance.randrange(4)}" + ("/long" * 100 if chance.random() < 0.2 else "")
        if name in present and chance.random() < 0.3:
            present.discard(name)
            steps.append(Step(writer, number, "delete", name, None))
            continue
        kind = chance.choice(list(sizes))
        present.add(name)
        steps.append(Step(writer, number, kind, name, chance.randbytes(chance.randint(*sizes[kind]))))
    return steps


async def copy_indexes(engine: Engine, kinds: Kinds, marks: int) -> None:
    copier = engine.index_copier(bytes_per_second=1e9)
    for mountpath in ("mp1", "mp2", "mp1", "mp2") if kinds == "all" else ("mp1", "mp1"):
        copy = await copier.copy(mountpath, size=engine.indexes[mountpath].used_bytes())
        os.write(marks, f"copied {mountpath} {copy.description.made_ns}\n".encode())


async def work(engine: Engine, steps: list[Step], marks: int) -> None:
    for step in steps:
        mark(marks, "begin", step)
        if step.data is None:
            await engine.store.delete(BUCKET, step.name)
        elif step.kind == "chunks":
            await put_in_chunks(engine, step.name, step.data, CHUNK_BYTES)
        elif step.kind == "parts":
            await put_in_parts(engine.store, step.name, step.data)
        elif step.kind in ("copy", "copied chunks"):
            await put_copy(engine, step.name, step.data, chunked=step.kind == "copied chunks")
        elif step.kind == "rechunk":
            await put_rechunked(engine, step.name, step.data)
        elif step.kind == "append":
            await put_appended(engine, step.name, step.data)
        else:
            await put(engine, step.name, step.data)
        mark(marks, "ack", step)


async def put_copy(engine: Engine, name: str, data: bytes, *, chunked: bool) -> None:
    """Of a source that is gone right afterwards."""
    source = f"source of {name}"
    await (put_in_chunks(engine, source, data, CHUNK_BYTES) if chunked else put(engine, source, data))
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, source, name))
    await engine.store.delete(BUCKET, source)


async def put_rechunked(engine: Engine, name: str, data: bytes) -> None:
    """All objects whose names begin so, which no other writer has."""
    await put(engine, name, data)
    properties = BucketProperties(chunk_above_bytes=CHUNK_BYTES, chunk_bytes=CHUNK_BYTES)
    await rechunk(engine, replace(BUCKET, properties=properties), name, go_on)


async def go_on(_step: Rechunked) -> None:
    """At full speed."""


async def put_appended(engine: Engine, name: str, data: bytes) -> None:
    """The end of it becomes a part behind what the object already holds."""
    store, half = engine.store, len(data) // 2
    source = f"beginning of {name}"
    await put(engine, source, data[:half])
    upload = await store.begin_upload(BUCKET, PutRequest(name))
    body = await store.open(BUCKET, source)
    first = await store.put_part(BUCKET, upload.id, 1, PutRequest(name), body.chunks())
    await body.close()
    second = await store.put_part(BUCKET, upload.id, 2, PutRequest(name), in_pieces(data[half:]))
    choices = (PartChoice(1, first.etag), PartChoice(2, second.etag))
    await store.complete_upload(BUCKET, name, upload.id, Completion(choices))
    await store.delete(BUCKET, source)


def rebuild(engine: Engine, folder: Path, marks: int) -> None:
    """The index that is made anew is whole, so that every object must be there at any moment."""
    engine.close()
    os.write(marks, b"rebuild begins\n")
    folders = engine_folders(folder)
    MountpathStates(folders, file=folder / STATES).set("mp2", MountpathState.DISABLED, "a test")
    os.write(marks, b"disabled mp2\n")
    rebuild_index(folders, "mp1", target="t1")
    os.write(marks, f"rebuilt {digest_of_index(folder)}\n".encode())


def engine_folders(folder: Path) -> dict[str, Path]:
    return {name: folder / "disks" / name for name in ("mp1", "mp2")}


def digest_of_index(folder: Path) -> str:
    data = (engine_folders(folder)["mp1"] / "index" / "data.mdb").read_bytes()
    return hashlib.blake2b(data.rstrip(b"\0"), digest_size=16).hexdigest()


def mark(descriptor: int, word: str, step: Step) -> None:
    os.write(descriptor, f"{word} {step.writer} {step.number}\n".encode())


async def main(folder: Path, marks: Path, seed: int, kinds: Kinds) -> None:
    descriptor = os.open(marks, os.O_WRONLY | os.O_CREAT)
    engine = unstarted_engine(engine_folders(folder))
    await engine.start()
    writing = [work(engine, steps, descriptor) for steps in plan(seed, kinds)]
    await asyncio.gather(*writing, copy_indexes(engine, kinds, descriptor))
    if kinds == "rebuild":
        await copy_indexes(engine, kinds, descriptor)
        rebuild(engine, folder, descriptor)
    # As a power loss would find it.
    os._exit(0)


def leave_out(label: str) -> None:
    if label != "lmdb":
        durability.SKIPPED.add(label)
        # In a process of its own.
        vars(index_copies)["COPYING"] = "support.unsynced_copying"
        os.environ["SYNC_LEFT_OUT"] = label
        return
    opened = lmdb.open
    vars(lmdb)["open"] = lambda *arguments, **named: opened(*arguments, **(named | {"sync": False}))


if __name__ == "__main__":
    for given in sys.argv[5:]:
        leave_out(given)
    chosen: dict[str, Kinds] = {kinds: kinds for kinds in get_args(Kinds)}
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), chosen[sys.argv[4]]))
