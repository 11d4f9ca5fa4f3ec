"""The index of a shard's members is read once, however many members of it are wanted at the same time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal_archive.archives import Archives
from shoal_store.engine import Engine
from support.engines import BUCKET, put, running_engine
from support.tars import tar_of

MEMBERS = {f"{number}": os.urandom(5000 + number) for number in range(16)}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path) as engine:
        await put(engine, "s.tar", tar_of(MEMBERS))
        yield engine


async def member(archives: Archives, name: str) -> bytes:
    body = await archives.open_member(BUCKET, "s.tar", name)
    try:
        return b"".join([piece async for piece in body.chunks()])
    finally:
        await body.close()


async def test_all_who_ask_at_once_wait_for_one_read(engine: Engine) -> None:
    archives, counts = Archives(engine.store), engine.store.reader.counts
    before = counts.reads
    assert await asyncio.gather(*(member(archives, name) for name in MEMBERS)) == [*MEMBERS.values()]
    # The shard is a file, so reading takes turns of the loop, and its headers lie within one window.
    assert counts.reads - before == 1 + len(MEMBERS)


async def test_who_gives_up_while_it_reads_leaves_the_turn_to_the_next(engine: Engine) -> None:
    archives = Archives(engine.store)
    first, *others = [asyncio.ensure_future(member(archives, name)) for name in MEMBERS]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [*MEMBERS.values()][1:]
    assert first.cancelled()
