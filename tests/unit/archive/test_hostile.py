"""Archives that were damaged or made to harm: 5,000 (the contract's CI count) mutations of real ones of every format.

Whatever is in them, reading ends with members or with one of our errors, and gives no more than it may: nothing is
unpacked to disk, no piece is larger than the largest step, and what comes out in all is bounded by what went in.
"""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import zipfile
from collections.abc import AsyncIterator

import lz4.frame
import pytest

from shoal_archive.archives import Archives
from shoal_archive.compression import EXPANSION_FREE_BYTES, EXPANSION_MAX, decompressed
from shoal_archive.formats import ArchiveFormat
from shoal_archive.tar_blocks import END, member_header
from shoal_archive.tar_reading import NotAnArchive
from shoal_core.errors import DataCorrupt, ObjectNotFound
from shoal_core.objects import PutRequest
from support.engines import BUCKET
from support.memory_store import MemoryObjectStore

MUTATIONS_A_SEED = 125
SEEDS = range(10)
FORMATS = (".tar", ".tgz", ".tar.lz4", ".zip")
PIECE_BYTES_MAX = 17 << 20
ALLOWED = (NotAnArchive, ObjectNotFound, DataCorrupt)
"""What a damaged archive may end with."""


def tar_of_some(choose: random.Random) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=choose.choice([0, 1, 2])) as archive:
        for number in range(6):
            entry = tarfile.TarInfo(choose.choice(["../", "/", "", "long/" * 18]) + str(number))
            entry.size = choose.randrange(2000)
            archive.addfile(entry, io.BytesIO(choose.randbytes(entry.size)))
    return packed.getvalue()


def zip_of_some(choose: random.Random) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(6):
            kind = choose.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
            archive.writestr(f"../{number}", bytes(choose.randrange(2000)), kind)
    return packed.getvalue()


def some_archive(extension: str, choose: random.Random) -> bytes:
    if extension == ".zip":
        return zip_of_some(choose)
    plain = tar_of_some(choose)
    if extension == ".tar.lz4":
        return bytes(lz4.frame.compress(plain))
    return plain if extension == ".tar" else gzip.compress(plain, 1)


def mutated(whole: bytes, choose: random.Random) -> bytes:
    content = bytearray(whole)
    for _ in range(choose.randrange(1, 9)):
        match choose.randrange(4):
            case 0:
                content[choose.randrange(len(content))] = choose.randrange(256)
            case 1:
                at = choose.randrange(len(content))
                content[at : at + choose.randrange(64)] = b"\xff" * choose.randrange(64)
            case 2:
                at = choose.randrange(len(content))
                content[at:at] = content[at : at + choose.randrange(600)]
            case 3:
                del content[choose.randrange(len(content)) :][: choose.randrange(100)]
        content = content or bytearray(b"\x00")
    return bytes(content[: choose.randrange(1, len(content) + 1)] if choose.random() < 0.2 else content)


async def whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def read_all(content: bytes, name: str) -> int:
    """All members, by list, one by one and as a selection. The bytes that came."""
    store = MemoryObjectStore()
    await store.put(BUCKET, PutRequest(name=name), whole(content))
    archives, came = Archives(store), 0
    _, members = await archives.members(BUCKET, name)
    for member in members[:8]:
        body = await archives.open_member(BUCKET, name, member.name)
        try:
            async for piece in body.chunks():
                assert len(piece) <= PIECE_BYTES_MAX
                came += len(piece)
        finally:
            await body.close()
    async for piece in archives.selected(BUCKET, name, lambda _: True):
        assert len(piece) <= PIECE_BYTES_MAX
        came += len(piece)
    return came


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("extension", FORMATS)
async def test_mutated_archives_end_with_an_error_or_with_members(extension: str, seed: int) -> None:
    choose = random.Random(f"{extension}{seed}")
    original = some_archive(extension, choose)
    assert await read_all(original, f"a{extension}")
    for _ in range(MUTATIONS_A_SEED):
        content = mutated(original, choose)
        try:
            came = await read_all(content, f"a{extension}")
        except ALLOWED:
            continue
        assert came <= 10 * (len(content) * EXPANSION_MAX + EXPANSION_FREE_BYTES)


async def test_a_member_that_claims_more_than_there_is_is_an_error() -> None:
    for size in (1 << 20, 8**11 - 1, 1 << 50):
        with pytest.raises(NotAnArchive):
            await read_all(member_header(b"liar", size) + b"x" * 512 + END, "a.tar")


async def test_an_archive_of_too_many_members_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal_archive.index.MEMBERS_MAX", 1000)
    with pytest.raises(NotAnArchive, match="more than 1000 members"):
        await read_all(member_header(b"x", 0) * 1001 + END, "a.tar")


@pytest.mark.slow
async def test_a_bomb_is_given_up_long_before_it_has_gone_off() -> None:
    """Zeros for ever, a gigabyte of them to a megabyte."""
    came = list[int]()
    with pytest.raises(NotAnArchive, match="bomb"):
        await unpacked(gzip.compress(bytes(64 << 20), 9) * 64, came)
    assert max(came) <= PIECE_BYTES_MAX
    assert sum(came) < 2 * EXPANSION_FREE_BYTES


async def unpacked(content: bytes, came: list[int]) -> None:
    async for piece in decompressed(pieces_of(content), ArchiveFormat.TAR_GZIP):
        came.append(len(piece))


async def pieces_of(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


async def test_a_zip_whose_directory_points_beyond_its_end_is_damaged() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", b"content")
    content = bytearray(packed.getvalue())
    local_header_offset = content.index(b"PK\x01\x02") + 42
    content[local_header_offset : local_header_offset + 4] = (1 << 20).to_bytes(4, "little")
    with pytest.raises(NotAnArchive, match="no local header"):
        await read_all(bytes(content), "a.zip")
