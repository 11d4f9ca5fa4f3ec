"""Every operation of the engine, with what its objects hold before it and after it, for tests in which it fails."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from shoal_core.errors import ObjectNotFound, Unavailable
from shoal_core.multipart import Completion, PartChoice, UploadQuery
from shoal_core.objects import (
    Bucket,
    BucketId,
    BucketProperties,
    BucketReference,
    CopyRequest,
    Preconditions,
    PutRequest,
    RangeRequest,
    Version,
)
from shoal_store.engine import Engine
from shoal_store.rechunk import Step, rechunk
from support.engines import BUCKET, VERSIONED, Fence, get, in_pieces, put, put_in_parts

CHUNK_BYTES = 20_000
CHUNKED = Bucket(
    BucketReference("chunked"),
    BucketId(b"engine-3"),
    1,
    0,
    BucketProperties(chunk_above_bytes=2 * CHUNK_BYTES, chunk_bytes=CHUNK_BYTES),
)
DOOMED = Bucket(BucketReference("doomed"), BucketId(b"engine-4"), 1, 0, CHUNKED.properties)
BUCKETS = (BUCKET, VERSIONED, CHUNKED, DOOMED)

Place = tuple[Bucket, str]
Contents = Mapping[Place, bytes | None]
NAME = "object"
BYSTANDERS: Contents = {
    (BUCKET, "inline"): b"inline" * 500,
    (BUCKET, "large"): b"large" * 9_000,
    (CHUNKED, "chunked"): b"chunk" * 18_000,
}
"""Objects that no operation touches, but for reads of them."""


def content(what: str, size: int) -> bytes:
    return random.Random(what).randbytes(size)


@dataclass
class Scene:
    engine: Engine
    fence: Fence

    @property
    def is_whole(self) -> bool:
        mountpaths = self.engine.mountpaths
        return len(mountpaths.available()) == len(mountpaths.all)


Act = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Operation:
    name: str
    act: Act
    """May be done again when it failed, or nobody knows whether it did."""
    old: Contents = field(default_factory=dict)
    new: Contents = field(default_factory=dict)
    whole: bool = True
    """Whether its objects change at once; those of a removed bucket go one by one."""
    of_mountpaths: bool = False
    """Whether it may leave one of them out."""


async def prepare(scene: Scene, operation: Operation) -> None:
    for contents in (BYSTANDERS, operation.old):
        for (bucket, name), data in contents.items():
            if data is not None:
                await put(scene.engine, name, data, bucket=bucket)


async def found(scene: Scene, contents: Contents) -> Contents:
    return {place: await held(scene, *place) for place in contents}


async def held(scene: Scene, bucket: Bucket, name: str) -> bytes | None:
    try:
        return await get(scene.engine, name, bucket=bucket)
    except ObjectNotFound:
        return None


async def forget_uploads(scene: Scene) -> None:
    for bucket in BUCKETS:
        for upload in (await scene.engine.store.list_uploads(bucket, UploadQuery(limit=100))).uploads:
            await scene.engine.store.abort_upload(bucket, upload.name, upload.id)


class WrongBytes(Exception):
    """What must never be."""


def writes(name: str, size: int, *, bucket: Bucket = BUCKET, old_size: int | None = None) -> Operation:
    old, new = content(f"{name} old", old_size if old_size is not None else size), content(name, size)

    async def act(scene: Scene) -> None:
        await put(scene.engine, NAME, new, bucket=bucket)

    return Operation(name, act, {(bucket, NAME): old}, {(bucket, NAME): new})


def parts() -> Operation:
    old, new = content("parts old", 40_000), content("parts", 50_000)

    async def act(scene: Scene) -> None:
        await put_in_parts(scene.engine.store, NAME, new)

    return Operation("parts", act, {(BUCKET, NAME): old}, {(BUCKET, NAME): new})


def append() -> Operation:
    """As AIStore's append has it: a part of what is there, a part of what comes."""
    old, more = content("append old", 60_000), content("append", 34_000)

    async def act(scene: Scene) -> None:
        store = scene.engine.store
        body = await store.open(BUCKET, NAME)
        try:
            if body.info.size != len(old):
                return  # done by an attempt that did not tell
            upload = await store.begin_upload(BUCKET, PutRequest(NAME))
            first = await store.put_part(BUCKET, upload.id, 1, PutRequest(NAME, size=len(old)), body.chunks())
        finally:
            await body.close()
        second = await store.put_part(BUCKET, upload.id, 2, PutRequest(NAME), in_pieces(more))
        choices = (PartChoice(1, first.etag), PartChoice(2, second.etag))
        unchanged = Preconditions(if_version=Version(body.info.version))
        await store.complete_upload(BUCKET, NAME, upload.id, Completion(choices, preconditions=unchanged))

    return Operation("append", act, {(BUCKET, NAME): old}, {(BUCKET, NAME): old + more})


def copies(name: str, source: Place) -> Operation:
    old, new = content(f"{name} old", 40_000), BYSTANDERS[source]

    async def act(scene: Scene) -> None:
        await scene.engine.store.copy(BUCKET, CopyRequest(*source, NAME))

    return Operation(name, act, {(BUCKET, NAME): old}, {(BUCKET, NAME): new})


def rechunks() -> Operation:
    data = content("rechunk", 90_000)

    async def act(scene: Scene) -> None:
        await rechunk(scene.engine, replace(BUCKET, properties=CHUNKED.properties), NAME, without_failure)

    return Operation("rechunk", act, {(BUCKET, NAME): data}, {(BUCKET, NAME): data})


async def without_failure(step: Step) -> None:
    """The job tells what it left as it is, and goes on."""
    if step.failure:
        raise Unavailable(step.failure)


def annotates() -> Operation:
    data = content("annotate", 40_000)

    async def act(scene: Scene) -> None:
        await scene.engine.store.annotate(BUCKET, NAME, {"colour": "blue"})

    return Operation("annotate", act, {(BUCKET, NAME): data}, {(BUCKET, NAME): data})


def deletes(name: str, bucket: Bucket) -> Operation:
    async def act(scene: Scene) -> None:
        with suppress(ObjectNotFound):
            await scene.engine.store.delete(bucket, NAME)

    return Operation(name, act, {(bucket, NAME): content(name, 90_000)}, {(bucket, NAME): None})


def removes_bucket() -> Operation:
    old = {(DOOMED, f"{NAME}-{size}"): content(str(size), size) for size in (100, 40_000, 90_000)}

    async def act(scene: Scene) -> None:
        scene.fence.removed.add(DOOMED.id)
        async for _ in scene.engine.purge_bucket(DOOMED.id):
            pass

    return Operation("remove-bucket", act, old, dict.fromkeys(old), whole=False)


def disables() -> Operation:
    async def act(scene: Scene) -> None:
        await scene.engine.disable("mp2")
        await scene.engine.enable("mp2")

    return Operation("disable-enable", act, of_mountpaths=True)


def reads(name: str, place: Place, wanted: RangeRequest | None = None) -> Operation:
    async def act(scene: Scene) -> None:
        expected = BYSTANDERS[place] or b""
        if wanted is not None:
            assert wanted.last is not None
            expected = expected[wanted.first : wanted.last + 1]
        if await get(scene.engine, place[1], wanted, bucket=place[0]) != expected:
            raise WrongBytes(f"{place[1]} reads otherwise")

    return Operation(name, act)


CHANGES = (
    writes("inline", 3_000),
    writes("single", 40_000),
    writes("inline-over-single", 3_000, old_size=40_000),
    writes("large", 9 << 20, old_size=40_000),
    writes("chunked", 70_000, bucket=CHUNKED),
    writes("versioned", 40_000, bucket=VERSIONED),
    parts(),
    append(),
    copies("copy", (CHUNKED, "chunked")),
    copies("copy-inline", (BUCKET, "inline")),
    rechunks(),
    annotates(),
    deletes("delete", CHUNKED),
    deletes("delete-versioned", VERSIONED),
    removes_bucket(),
    disables(),
)
READS = (  # what comes from an index comes from its map, without a call
    reads("get", (BUCKET, "large")),
    reads("get-chunked", (CHUNKED, "chunked")),
    reads("get-range", (CHUNKED, "chunked"), RangeRequest(18_000, 62_000)),
)
OPERATIONS = {operation.name: operation for operation in (*CHANGES, *READS)}
