"""Listings of the engine alone, without HTTP: from an index that is not in memory, and from one that is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shoal_bench.load import Measured
from shoal_bench.rows import Row, Subject
from shoal_bench.work import Scale
from shoal_core.objects import (
    Bucket,
    BucketId,
    BucketProperties,
    BucketReference,
    Detail,
    ListQuery,
    PutRequest,
)
from shoal_store.engine import Engine, open_engine, open_reader
from shoal_store.reader import StoreReader

BUCKET = Bucket(BucketReference("bench"), BucketId(b"bench---"), 1, 0, BucketProperties(durability="os"))
CLUSTER, TARGET = "bench", "t1"
BODY = bytes(4096)
ALL_SLOTS = b"\xff" * 8192
FOLDER = "engine"
"""Removed after its rows."""
WRITES_AT_ONCE = 1000
"""So many share a commit of their index."""


@dataclass(frozen=True)
class Way:
    """Of asking for a page."""

    what: str
    page_names: int
    detail: Detail


WAYS = (
    Way("names", page_names=10_000, detail="size"),
    Way("names with all that is known of each", page_names=1000, detail="all"),
)
"""As AIStore's clients ask unless they are told otherwise, and in pages of S3's size the most that can be asked."""


class Unfenced:
    """An `Authority` of a target that nobody else wants to be."""

    def deadline(self) -> float:
        return float("inf")

    def is_current(self, _bucket_id: BucketId) -> bool:
        return True


def engine_rows(scale: Scale) -> list[Row]:
    """An operation is a name, its CPU that of this process. The names are written once for all rows, and each row
    lists them once: the cold ones what lies on the disk alone."""
    return [row for way in WAYS for row in rows_of(way, scale)]


def rows_of(way: Way, scale: Scale) -> Iterator[Row]:
    title = f"engine alone, LIST {scale.listed_names:,} {way.what}"

    def cold(subject: Subject) -> Measured:
        folders = filled(subject, scale.listed_names)
        drop_from_memory(folders)
        return listed(folders, way, times=1)

    def warm(subject: Subject) -> Measured:
        return listed(filled(subject, scale.listed_names), way, times=2)

    yield Row(f"{title}, cold", cold, system="shoal")
    yield Row(f"{title}, warm", warm, system="shoal")


def filled(subject: Subject, names: int) -> dict[str, Path]:
    folders = {f"mp{number}": subject.folder / FOLDER / f"mp{number}" for number in (1, 2)}
    subject.once("listing", lambda: asyncio.run(fill(folders, names)))
    return folders


def listed(folders: Mapping[str, Path], way: Way, *, times: int) -> Measured:
    """The last time, in a process that has the index open, as those that serve do."""
    store = open_reader(folders, cluster=CLUSTER, target=TARGET)
    try:
        return [listed_once(store.reader, way) for _ in range(times)][-1]
    finally:
        store.close()


def listed_once(reader: StoreReader, way: Way) -> Measured:
    began, cpu = time.monotonic(), time.process_time()
    times, names = list[float](), 0
    page_began = began
    for count in pages(reader, way):
        names += count
        times.append((time.monotonic() - page_began) * 1e3)
        page_began = time.monotonic()
    cpu, seconds = time.process_time() - cpu, time.monotonic() - began
    times.sort()
    return Measured(names, seconds, times[len(times) // 2], times[int(len(times) * 0.99)], cpu)


async def fill(folders: Mapping[str, Path], names: int) -> None:
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    engine = open_engine(folders, cluster=CLUSTER, target=TARGET, authority=Unfenced())
    engine.own(1, ALL_SLOTS)
    await engine.start()
    left = iter(range(names))
    try:
        await asyncio.gather(*(put_all(engine, left) for _ in range(WRITES_AT_ONCE)))
    finally:
        await engine.stop()


async def put_all(engine: Engine, numbers: Iterator[int]) -> None:
    for number in numbers:
        await engine.store.put(BUCKET, PutRequest(f"put-4096/{number:06}", len(BODY)), body())


async def body() -> AsyncIterator[bytes]:
    yield BODY


def drop_from_memory(folders: Mapping[str, Path]) -> None:
    """What no process has mapped goes out of the page cache: the first run reads the disk."""
    for path in folders.values():
        descriptor = os.open(path / "index" / "data.mdb", os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def pages(reader: StoreReader, way: Way) -> Iterator[int]:
    """The number of names of each page, to the end of the bucket."""
    after = ""
    while True:
        query = ListQuery(start_after=after, limit=way.page_names, detail=way.detail)
        page = reader.page(BUCKET, query)
        yield len(page.entries)
        if not (after := page.next_after):
            return
