"""Listings of the engine alone, without HTTP and processes: seconds, and CPU of this process per name.

python -m shoal_bench.listing_engine [--names N] [--page N] [--folder DIR]

A folder that was given is kept, and what it has of the names is not written again. "Cold" is with an index that is
not in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from shoal_core.objects import Bucket, BucketId, BucketProperties, BucketReference, ListQuery, PutRequest
from shoal_store.engine import Engine, open_engine, open_reader
from shoal_store.reader import StoreReader

BUCKET = Bucket(BucketReference("bench"), BucketId(b"bench---"), 1, 0, BucketProperties(durability="os"))
CLUSTER, TARGET = "bench", "t1"
BODY = bytes(4096)
ALL_SLOTS = b"\xff" * 8192
WRITES_AT_ONCE = 1000
"""So many share a commit of their index."""


class Unfenced:
    """An `Authority` of a target that nobody else wants to be."""

    def deadline(self) -> float:
        return float("inf")

    def is_current(self, _bucket_id: BucketId) -> bool:
        return True


def main() -> int:
    arguments = parsed()
    with ExitStack() as stack:
        folder = arguments.folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shoal-listing-")))
        folders = {f"mp{number}": folder / f"mp{number}" for number in (1, 2)}
        asyncio.run(fill(folders, arguments.names))
        drop_from_memory(folders)
        store = open_reader(folders, cluster=CLUSTER, target=TARGET)
        for run in ("cold", "warm", "warm"):
            report(run, store.reader, arguments.page)
        store.close()
    return 0


def report(run: str, reader: StoreReader, page_names: int) -> None:
    began, cpu = time.monotonic(), time.process_time()
    names = sum(pages(reader, page_names))
    cpu, seconds = time.process_time() - cpu, time.monotonic() - began
    print(f"{run}: {names:,} names in {seconds:.2f} s, CPU {cpu / names * 1e6:.2f} µs a name")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shoal_bench.listing_engine", description=__doc__)
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--page", type=int, default=1000, help="names in a page")
    parser.add_argument("--folder", type=Path, help="for the mountpaths; kept; 8 KB a name")
    return parser.parse_args()


async def fill(folders: Mapping[str, Path], names: int) -> None:
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    engine = open_engine(folders, cluster=CLUSTER, target=TARGET, authority=Unfenced())
    engine.own(1, ALL_SLOTS)
    await engine.start()
    known = sum(pages(engine.reader, 1000))
    left = iter(range(known, names))
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


def pages(reader: StoreReader, page_names: int) -> Iterator[int]:
    """The number of names of each page, to the end of the bucket."""
    after = ""
    while True:
        page = reader.page(BUCKET, ListQuery(start_after=after, limit=page_names))
        yield len(page.entries)
        if not (after := page.next_after):
            return


if __name__ == "__main__":
    sys.exit(main())
