"""Objects that get other chunks while they stay what they are: contents, etag, version, times, parts; and readers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from shoal_core.errors import InvalidArgument, ObjectNotFound, PreconditionFailed
from shoal_core.multipart import Completion, PartChoice
from shoal_core.objects import Bucket, ObjectInfo, PutRequest, RangeRequest
from shoal_core.part_runs import place_of
from shoal_store.chunkfile import BLOCK_BYTES
from shoal_store.commit import Commit, Conditions
from shoal_store.engine import Engine
from shoal_store.rechunk import STEP_BYTES, Step, rechunk
from shoal_store.scrub import scrub
from support.engines import BUCKET, VERSIONED, get, in_pieces, put, running_engine, settled, stored

LARGE = os.urandom(5 * BLOCK_BYTES + 12_345)
CHUNK = 2 * BLOCK_BYTES


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        yield engine


def formed(bucket: Bucket, above: int, chunk: int = 0) -> Bucket:
    properties = replace(bucket.properties, chunk_above_bytes=above, chunk_bytes=chunk)
    return replace(bucket, properties=properties)


class Told:
    """Adds steps up, and does what a test wants in the middle of one."""

    def __init__(self) -> None:
        self.rows = self.objects = self.bytes = self.copied = 0
        self.failures: list[str] = []

    async def __call__(self, step: Step) -> None:
        self.rows += step.rows
        self.objects += step.objects
        self.bytes += step.bytes
        self.copied += step.bytes_copied
        self.failures += [step.failure] if step.failure else []
        if step.bytes_copied:
            await self.copying()

    async def copying(self) -> None:
        """Between two pieces of an object."""


async def rechunked(
    engine: Engine, above: int, chunk: int = 0, *, bucket: Bucket = BUCKET, prefix: str = ""
) -> Told:
    told = Told()
    await rechunk(engine, formed(bucket, above, chunk), prefix, told)
    return told


async def head(engine: Engine, name: str, bucket: Bucket = BUCKET) -> ObjectInfo:
    return await engine.store.head(bucket, name)


def unchunked(info: ObjectInfo) -> dict[str, object]:
    """All that a rechunk must leave alone."""
    fields = {each: getattr(info, each) for each in info.__struct_fields__}
    return {name: value for name, value in fields.items() if not name.startswith("chunk_")}


async def put_with_everything(engine: Engine, name: str, data: bytes, bucket: Bucket = BUCKET) -> ObjectInfo:
    request = PutRequest(
        name, len(data), "text/x", {"color": "blue"}, headers={"cache-control": "no-store"}, md5_etag=True
    )
    return await engine.store.put(bucket, request, in_pieces(data))


def is_sound(engine: Engine) -> bool:
    findings = [finding for step in scrub(engine.indexes, engine.mountpaths) for finding in step.findings]
    assert findings == []
    return True


async def test_an_object_gets_chunks_others_and_none_and_stays_what_it_is(
    engine: Engine, tmp_path: Path
) -> None:
    await put(engine, "o", b"before")
    before = await put_with_everything(engine, "o", LARGE)
    assert before.sequence == 2
    for above, chunk, count in ((1, CHUNK, 3), (1, BLOCK_BYTES, 6), (len(LARGE), CHUNK, 0), (0, CHUNK, 0)):
        told = await rechunked(engine, above, chunk)
        info = await head(engine, "o")
        assert (unchunked(info), info.chunk_count) == (unchunked(before), count)
        assert await get(engine, "o") == LARGE
        assert (told.objects, told.bytes, told.failures) == (1, len(LARGE), [])
        await settled(engine)
        assert len(stored(tmp_path)) == (count + 1 if count else 1)
        assert is_sound(engine)
    assert told.copied == 0


async def test_only_larger_objects_under_the_prefix_are_touched(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "a/small", bytes(100))
    await put(engine, "a/middle", LARGE[:CHUNK])
    await put(engine, "a/large", LARGE)
    await put(engine, "b/large", LARGE)
    told = await rechunked(engine, CHUNK, BLOCK_BYTES, prefix="a/")
    assert (told.rows, told.objects, told.copied) == (3, 3, len(LARGE))
    counts = [
        (await head(engine, name)).chunk_count for name in ("a/small", "a/middle", "a/large", "b/large")
    ]
    assert counts == [0, 0, 6, 0]
    assert (await rechunked(engine, CHUNK, BLOCK_BYTES)).copied == len(LARGE)


async def test_a_long_name_is_found_by_a_long_prefix(engine: Engine) -> None:
    names = ["x" * 450 + tail for tail in ("a", "b")]
    for name in names:
        await put(engine, name, LARGE)
    told = await rechunked(engine, 1, CHUNK, prefix=names[0])
    assert [(await head(engine, name)).chunk_count for name in names] == [3, 0]
    assert (told.objects, await get(engine, names[0]) == LARGE) == (1, True)


async def test_parts_and_etag_of_an_upload_stay(engine: Engine, tmp_path: Path) -> None:
    upload = await engine.store.begin_upload(BUCKET, PutRequest("o", headers={"x": "y"}))
    border, choices = 3 * BLOCK_BYTES + 7, []
    for number, piece in ((2, LARGE[:border]), (9, LARGE[border:])):
        part = await engine.store.put_part(BUCKET, upload.id, number, PutRequest("o"), in_pieces(piece))
        choices.append(PartChoice(number, part.etag))
    etag = "0123456789abcdef0123456789abcdef-2"
    before = await engine.store.complete_upload(BUCKET, "o", upload.id, Completion(choices, etag))
    assert (before.etag, before.chunk_count) == (etag, 2)
    for above, count in ((1, 3), (0, 0), (1, 3)):
        await rechunked(engine, above, CHUNK)
        info = await head(engine, "o")
        assert (unchunked(info), info.chunk_count) == (unchunked(before), count)
        place = place_of(info.parts, 9)
        assert place is not None
        wanted = RangeRequest(place.offset, place.offset + place.size - 1)
        assert await get(engine, "o", wanted) == LARGE[border:]
        await settled(engine)
        assert is_sound(engine)


async def test_an_upload_of_one_empty_part_becomes_one_file(engine: Engine, tmp_path: Path) -> None:
    upload = await engine.store.begin_upload(BUCKET, PutRequest("o"))
    part = await engine.store.put_part(BUCKET, upload.id, 1, PutRequest("o"), in_pieces(b""))
    await engine.store.complete_upload(BUCKET, "o", upload.id, Completion([PartChoice(1, part.etag)]))
    await rechunked(engine, 0)
    assert ((await head(engine, "o")).chunk_count, await get(engine, "o")) == (0, b"")
    assert is_sound(engine)


async def test_older_versions_stay_and_no_new_one_appears(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "o", LARGE[::-1], bucket=VERSIONED)
    before = await put(engine, "o", LARGE, bucket=VERSIONED)
    await rechunked(engine, 1, CHUNK, bucket=VERSIONED)
    info = await head(engine, "o", VERSIONED)
    assert (unchunked(info), info.chunk_count) == (unchunked(before), 3)
    assert await get(engine, "o", bucket=VERSIONED) == LARGE
    await settled(engine)
    assert len(stored(tmp_path)) == 1 + 3 + 1
    assert is_sound(engine)


class Meddling(Told):
    def __init__(self, engine: Engine, data: bytes | None) -> None:
        super().__init__()
        self._engine = engine
        self._data = data

    async def copying(self) -> None:
        if self._data is not None:
            await put(self._engine, "o", self._data)
        elif self.copied <= STEP_BYTES:
            await self._engine.store.delete(BUCKET, "o")


@pytest.mark.parametrize("data", [None, b"new", LARGE[::-1]], ids=["deleted", "small", "large"])
async def test_what_changes_while_it_is_copied_is_left_as_it_is(
    engine: Engine, tmp_path: Path, data: bytes | None
) -> None:
    """The copy's end finds another version; a copy that goes on finds that a file is gone."""
    await put(engine, "o", LARGE)
    told = Meddling(engine, data)
    await rechunk(engine, formed(BUCKET, 1, CHUNK), "", told)
    assert (told.objects, told.failures) == (0, [])
    if data is None:
        with pytest.raises(ObjectNotFound):
            await head(engine, "o")
    else:
        assert (await get(engine, "o"), (await head(engine, "o")).chunk_count) == (data, 0)
    await settled(engine)
    assert len(stored(tmp_path)) == (1 if data and len(data) > 100 else 0)
    assert is_sound(engine)


async def test_a_damaged_object_is_reported_and_left_and_the_others_go_on(
    engine: Engine, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        await put(engine, name, LARGE)
    damaged, *_ = stored(tmp_path)
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    told = await rechunked(engine, 1, CHUNK)
    assert (told.objects, len(told.failures)) == (2, 1)
    assert "fails its checksum" in told.failures[0]
    await settled(engine)
    assert len(stored(tmp_path)) == 1 + 2 * 4
    assert damaged.exists()


async def test_an_object_whose_checksum_is_of_other_bytes_is_left(engine: Engine, tmp_path: Path) -> None:
    """Blocks can be sound and the whole not: a bug elsewhere is not to be written anew as truth."""
    written = await engine.writer.write(BUCKET, PutRequest("o"), in_pieces(LARGE))
    record = msgspec.structs.replace(written.record, checksum_value="0" * 16)
    await engine.commit(Commit("put", BUCKET.id, 1, "o", 0, False, record))
    told = await rechunked(engine, 1, CHUNK)
    assert ([failure[:10] for failure in told.failures], told.objects) == (["o: the xxh"], 0)
    assert await get(engine, "o") == LARGE
    assert len(stored(tmp_path)) == 1


async def test_an_interrupted_rechunk_leaves_every_object_whole_and_is_finished_by_the_next(
    engine: Engine, tmp_path: Path
) -> None:
    names = [f"o{number}" for number in range(4)]
    for name in names:
        await put(engine, name, LARGE)

    class Stopping(Told):
        async def copying(self) -> None:
            if self.copied > 2 * len(LARGE):
                raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await rechunk(engine, formed(BUCKET, 1, CHUNK), "", Stopping())
    await settled(engine)
    assert is_sound(engine)
    counts = [(await head(engine, name)).chunk_count for name in names]
    assert sorted(counts) == [0, 0, 3, 3]
    told = await rechunked(engine, 1, CHUNK)
    assert (told.objects, told.bytes, told.copied) == (4, 4 * len(LARGE), 2 * len(LARGE))
    for name in names:
        assert await get(engine, name) == LARGE


async def test_a_commit_that_makes_no_sense_is_refused(engine: Engine) -> None:
    info = await put(engine, "o", LARGE)
    written = await engine.writer.write(BUCKET, PutRequest("o"), in_pieces(LARGE[:-1]))
    right = Conditions(if_version=info.version)
    other = Conditions(if_version=b"another")
    commit = Commit("rechunk", BUCKET.id, 1, "o", 0, False, written.record)
    for conditions, error in (
        (Conditions(), InvalidArgument),
        (other, PreconditionFailed),
        (right, InvalidArgument),
    ):
        with pytest.raises(error):
            await engine.commit(msgspec.structs.replace(commit, conditions=conditions))
    assert await get(engine, "o") == LARGE


async def test_a_reader_in_the_middle_gets_all_of_the_old_files(engine: Engine, tmp_path: Path) -> None:
    await put(engine, "o", LARGE)
    body = await engine.store.open(BUCKET, "o")
    pieces = body.chunks()
    beginning = await anext(pieces)
    await rechunked(engine, 1, CHUNK)
    await settled(engine)
    assert len(stored(tmp_path)) == 4
    assert beginning + b"".join([piece async for piece in pieces]) == LARGE
    await body.close()


async def test_readers_are_undisturbed_by_writers_deletions_and_rechunks(
    engine: Engine, tmp_path: Path
) -> None:
    """Each read is one whole version; no descriptor and no file stays."""
    versions = {bytes([number]): os.urandom(3 * BLOCK_BYTES + number) for number in range(6)}
    contents = set(versions.values())
    await put(engine, "o", LARGE)
    contents.add(LARGE)
    descriptors = len(os.listdir("/proc/self/fd"))
    done = asyncio.Event()
    reads = 0

    async def read() -> None:
        nonlocal reads
        while not done.is_set():
            try:
                body = await engine.store.open(BUCKET, "o")
            except ObjectNotFound:
                await asyncio.sleep(0)  # finding nothing takes no turn of the loop
                continue
            data = b"".join([piece async for piece in body.chunks()])
            await body.close()
            assert data in contents
            assert len(data) == body.info.size
            reads += 1

    async def change() -> None:
        for data in versions.values():
            await rechunked(engine, 1, BLOCK_BYTES)
            await put(engine, "o", data)
            await rechunked(engine, 1, CHUNK)
            await rechunked(engine, 0)
            await engine.store.delete(BUCKET, "o")
            await put(engine, "o", data)
        done.set()

    async with asyncio.TaskGroup() as group:
        for work in (change(), *(read() for _ in range(4))):
            group.create_task(work)
    assert reads
    await rechunked(engine, 1, BLOCK_BYTES)
    await settled(engine)
    assert len(stored(tmp_path)) == 4 + 1
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert is_sound(engine)
