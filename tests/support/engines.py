"""A target's engine in the test's process, with a fence that the test moves, and short ways to put, get and look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from shoal_core.errors import ObjectNotFound
from shoal_core.multipart import Completion, MultipartStore, PartChoice
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    BucketId,
    BucketProperties,
    BucketReference,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)
from shoal_store.commit import Commit, conditions_of
from shoal_store.engine import Engine, open_engine
from shoal_store.writer import Written
from support.stores import ALL_SLOTS, CLUSTER_ID

BUCKET = Bucket(BucketReference("engine"), BucketId(b"engine-1"), 1, 0, BucketProperties())
VERSIONED = Bucket(
    BucketReference("versions"), BucketId(b"engine-2"), 1, 0, BucketProperties(versioning=True)
)


@dataclass
class Fence:
    """An `Authority` that says what the test wants. `leases` are used up first, one a question."""

    held: bool = True
    leases: list[bool] = field(default_factory=list)
    removed: set[BucketId] = field(default_factory=set)

    def deadline(self) -> float:
        held = self.leases.pop(0) if self.leases else self.held
        return time.clock_gettime(time.CLOCK_BOOTTIME) + 3600 if held else 0.0

    def is_current(self, bucket_id: BucketId) -> bool:
        return bucket_id not in self.removed


def mountpath_folders(folder: Path, count: int = 2) -> dict[str, Path]:
    folders = {f"mp{number}": folder / f"mp{number}" for number in range(1, count + 1)}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    return folders


def unstarted_engine(folders: dict[str, Path], *, fence: Fence | None = None) -> Engine:
    engine = open_engine(folders, cluster=CLUSTER_ID, target="t1", authority=fence or Fence())
    engine.own(1, ALL_SLOTS)
    return engine


@asynccontextmanager
async def running_engine(
    folder: Path, *, mountpaths: int = 2, fence: Fence | None = None
) -> AsyncIterator[Engine]:
    engine = unstarted_engine(mountpath_folders(folder, mountpaths), fence=fence)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def in_pieces(data: bytes, piece: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), piece):
        yield data[start : start + piece]


async def put(
    engine: Engine,
    name: str,
    data: bytes,
    *,
    bucket: Bucket = BUCKET,
    preconditions: Preconditions = NO_PRECONDITIONS,
) -> ObjectInfo:
    request = PutRequest(name, len(data), preconditions=preconditions)
    return await engine.store.put(bucket, request, in_pieces(data))


async def put_many(engine: Engine, names: Iterable[str]) -> None:
    """A byte each, at once, so that they share transactions."""
    await asyncio.gather(*(put(engine, name, b"x") for name in names))


async def put_in_chunks(engine: Engine, name: str, data: bytes, chunk_bytes: int) -> Written:
    """Committed as one object of several chunks, of which `ObjectStore.put` makes none by itself."""
    written = await engine.writer.write(
        BUCKET, PutRequest(name), in_pieces(data, chunk_bytes * 2 // 3), chunk_bytes=chunk_bytes
    )
    await engine.commit(commit_of(written, name))
    return written


async def put_in_parts(store: MultipartStore, name: str, data: bytes) -> ObjectInfo:
    """In two parts, the first of which has a third of the data."""
    upload = await store.begin_upload(BUCKET, PutRequest(name))
    border = len(data) // 3
    choices = []
    for number, piece in enumerate((data[:border], data[border:]), 1):
        part = await store.put_part(BUCKET, upload.id, number, PutRequest(name), in_pieces(piece))
        choices.append(PartChoice(number, part.etag))
    return await store.complete_upload(BUCKET, name, upload.id, Completion(choices))


def commit_of(
    written: Written,
    name: str,
    *,
    bucket: Bucket = BUCKET,
    preconditions: Preconditions = NO_PRECONDITIONS,
) -> Commit:
    return Commit(
        "put",
        bucket.id,
        bucket.generation,
        name,
        1,
        bucket.properties.versioning,
        written.record,
        written.payload,
        conditions_of(preconditions),
    )


async def get(
    engine: Engine, name: str, wanted: RangeRequest | None = None, *, bucket: Bucket = BUCKET
) -> bytes:
    body = await engine.store.open(bucket, name, range=wanted)
    try:
        return b"".join([piece async for piece in body.chunks()])
    finally:
        await body.close()


async def settled(engine: Engine) -> None:
    """Until what earlier commits retired has been unlinked: each committer does so before it takes the next commit."""
    for mountpath_id in engine.indexes:
        with suppress(ObjectNotFound):
            await engine.store.delete(BUCKET, name_kept_by(engine, mountpath_id))


def name_kept_by(engine: Engine, mountpath_id: str, *, bucket: Bucket = BUCKET) -> str:
    """A name whose record lies in the index of that mountpath."""
    names = (f"kept-{number}" for number in count())
    return next(name for name in names if engine.mountpaths.of_name(bucket.id, name.encode()) == mountpath_id)


def stored(folder: Path) -> list[Path]:
    """Every file that a body left on the mountpaths under `folder`: in place, or unfinished."""
    return sorted(path for path in files_below(folder) if path.name != "lock")


def files_below(folder: Path) -> Iterator[Path]:
    for pattern in ("mp*/data/*/*", "mp*/tmp/*/*", "mp*/tmp/*/*/*"):
        yield from (path for path in folder.glob(pattern) if path.is_symlink() or not path.is_dir())


def damage_record(engine: Engine, key: bytes, where: int = -1) -> None:
    """Flip a bit of the record under a key."""
    for index in engine.indexes.values():
        with index.write() as transaction:
            if value := transaction.get(key, db=index.records):
                changed = bytearray(value)
                changed[where] ^= 1
                transaction.put(key, bytes(changed), db=index.records)


def rows(engine: Engine, table: str) -> list[tuple[bytes, bytes]]:
    """Of a table, in all indexes: keys and values."""
    found = []
    for index in engine.indexes.values():
        with index.read() as transaction, transaction.cursor(db=getattr(index, table)) as cursor:
            found += [(bytes(key), bytes(value)) for key, value in cursor]
    return found
