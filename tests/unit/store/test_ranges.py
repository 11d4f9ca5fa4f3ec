"""Any range of any object in any chunks is the slice of its bytes, and opens the chunks that it touches, no others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from shoal_core.errors import RangeNotSatisfiable
from shoal_core.objects import PutRequest, RangeRequest
from shoal_store.chunkfile import BLOCK_BYTES
from shoal_store.commit import Commit
from shoal_store.engine import Engine
from shoal_store.hashing import ContentHashes
from shoal_store.keys import placed
from shoal_store.ready import READ_BYTES_MAX
from shoal_store.record import Record
from support.engines import BUCKET, commit_of, get, running_engine

CONTENT = os.urandom(3 * BLOCK_BYTES)
CHUNKS_MAX = 12
UNSYNCED = replace(BUCKET, properties=replace(BUCKET.properties, durability="os"))
NAMES = count()


@dataclass
class Store:
    """An engine that goes on from example to example."""

    runner: asyncio.Runner
    engine: Engine
    folder: Path

    def put(self, size: int, chunk_bytes: int) -> tuple[str, Record]:
        """In files, however small: `put` would leave it to the index."""
        name = f"o{next(NAMES)}"
        files = self.engine.writer.files(
            UNSYNCED, PutRequest(name), ContentHashes("none", ()), chunk_bytes=chunk_bytes
        )
        files.write([CONTENT[:size]])
        written = files.finish([])
        self.runner.run(committed(self.engine, commit_of(written, name)))
        return name, written.record

    def open_chunks(self, record: Record) -> list[int]:
        """Numbers of the record's chunks that this process has open."""
        links = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
        names = {Path(link).name for link in links if link.startswith(str(self.folder))}
        return [number for number, chunk in enumerate(record.chunks) if chunk.file_id.hex() in names]


async def committed(engine: Engine, commit: Commit) -> None:
    await engine.commit(commit)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("ranges")
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        opening = running_engine(folder)
        engine = runner.run(opening.__aenter__())
        stack.callback(lambda: runner.run(opening.__aexit__(None, None, None)))
        yield Store(runner, engine, folder)


SIZES = st.one_of(
    st.integers(0, 5_000),
    st.integers(BLOCK_BYTES - 2, BLOCK_BYTES + 2),
    st.integers(0, len(CONTENT)),
)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, int]:
    """Size of an object, and of its chunks."""
    size = draw(SIZES)
    chunk_bytes = draw(st.integers(max(1, -(-size // CHUNKS_MAX)), size + 2))
    return size, chunk_bytes


@st.composite
def ranges(draw: st.DrawFn, size: int, chunk_bytes: int) -> RangeRequest:
    """From-to, open end or suffix; often at a border, sometimes beyond the end."""
    borders = st.builds(
        lambda number, beside: max(number * chunk_bytes + beside, 0),
        st.integers(0, size // chunk_bytes + 1),
        st.integers(-1, 1),
    )
    places = st.one_of(borders, st.integers(0, size + 2))
    form = draw(st.sampled_from(["from-to", "open", "suffix"]))
    if form == "suffix":
        return RangeRequest(None, draw(places))
    if form == "open":
        return RangeRequest(draw(places), None)
    first, last = sorted((draw(places), draw(places)))
    return RangeRequest(first, last)


def slice_of(wanted: RangeRequest, size: int) -> range:
    """As Python's slices have it."""
    if wanted.first is None:
        return range(size)[max(size - (wanted.last or 0), 0) :]
    return range(size)[wanted.first : None if wanted.last is None else wanted.last + 1]


def touched(places: range, chunk_bytes: int) -> list[int]:
    return list(range(places[0] // chunk_bytes, places[-1] // chunk_bytes + 1))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), layout=layouts())
def test_any_range_is_the_slice_and_opens_no_more_than_its_chunks(
    store: Store, data: st.DataObject, layout: tuple[int, int]
) -> None:
    size, chunk_bytes = layout
    name, record = store.put(size, chunk_bytes)
    assert store.runner.run(get(store.engine, name)) == CONTENT[:size]
    for wanted in data.draw(st.lists(ranges(size, chunk_bytes), min_size=1, max_size=6)):
        places = slice_of(wanted, size)
        if not places:
            with pytest.raises(RangeNotSatisfiable):
                store.runner.run(get(store.engine, name, wanted))
            continue
        check_body(store, name, record, wanted, places, chunk_bytes)
        check_files(store, name, wanted, places)
        assert store.open_chunks(record) == []


def check_body(
    store: Store, name: str, record: Record, wanted: RangeRequest, places: range, chunk_bytes: int
) -> None:
    async def read() -> tuple[list[int], bytes]:
        body = await store.engine.store.open(BUCKET, name, range=wanted)
        opened = store.open_chunks(record)
        pieces = [piece async for piece in body.chunks()]
        await body.close()
        return opened, b"".join(pieces)

    opened, found = store.runner.run(read())
    assert found == CONTENT[places[0] : places[-1] + 1]
    assert opened == touched(places, chunk_bytes)


def check_files(store: Store, name: str, wanted: RangeRequest, places: range) -> None:
    """What would be sent, as bytes or by `sendfile`; nothing when the pages have left memory meanwhile."""
    ready = store.engine.reader.ready(BUCKET, placed(BUCKET.id, name.encode()), wanted, with_bytes=True)
    if ready is None:
        return
    pieces = [os.pread(file.descriptor, file.end - file.offset, file.offset) for file in ready.files]
    for file in ready.files:
        os.close(file.descriptor)
    assert bool(ready.files) == (len(places) > READ_BYTES_MAX)
    assert b"".join([ready.payload, *pieces]) == CONTENT[places[0] : places[-1] + 1]
