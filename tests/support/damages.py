"""A closed store, and ways to damage one place of it: bits, lengths, files exchanged, an older version put back."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from shoal_core.objects import Bucket, BucketId, BucketProperties, BucketReference, CopyRequest
from shoal_store.index import Index
from support.engines import put, put_in_parts, running_engine, settled

CHUNK_BYTES = 20_000
PAGE = 4096
ALWAYS = Bucket(
    BucketReference("always"),
    BucketId(b"always-1"),
    1,
    0,
    BucketProperties(chunk_above_bytes=2 * CHUNK_BYTES, chunk_bytes=CHUNK_BYTES, verify="always"),
)
PARTS = "in parts"
"""Lies in the engine's tests' own bucket, as its helper puts it there."""
SIZES = {"inline": 3_000, "small": 10, "single": 36_000, "chunked": 90_000, "copied": 50_000, PARTS: 60_000}
MOUNTPATHS = ("mp1", "mp2")


def body(name: str, generation: int) -> bytes:
    return random.Random(f"{name}-{generation}").randbytes(SIZES[name.rstrip("0123456789")])


def names() -> list[str]:
    return [f"{kind}{number}" for kind in SIZES if kind != PARTS for number in range(3)]


@dataclass(frozen=True)
class Stores:
    """The same store twice, the second with every object overwritten."""

    old: Path
    new: Path


async def make_stores(folder: Path) -> Stores:
    old, new = folder / "old", folder / "new"
    async with running_engine(new) as engine:
        for generation in (1, 2):
            for name in names():
                await put(engine, name, body(name, generation), bucket=ALWAYS)
                if name.startswith("copied"):
                    await engine.store.copy(ALWAYS, CopyRequest(ALWAYS, name, f"{name} copy"))
            await put_in_parts(engine.store, PARTS, body(PARTS, generation))
            await settled(engine)
            if generation == 1:
                shutil.copytree(new, old, symlinks=True)
    return Stores(old, new)


def expected(generation: int = 2) -> dict[str, bytes]:
    """Of ALWAYS."""
    held = {name: body(name, generation) for name in names()}
    return held | {f"{name} copy": data for name, data in held.items() if name.startswith("copied")}


Damage = Callable[[Path, Stores, random.Random], str]
"""Does it to a copy of `new`, and says what was done; "" where there was nothing to do."""


def chunk_files(folder: Path, *, manifests: bool = False) -> list[Path]:
    found = sorted(path for each in MOUNTPATHS for path in (folder / each / "data").glob("*/*"))
    return [path for path in found if (path.suffix == ".manifest") == manifests]


def said(path: Path) -> bytes:
    """Of a file, or of a symbolic link, as the manifest of a copy is one."""
    return os.readlink(os.fsencode(path)) if path.is_symlink() else path.read_bytes()


def say(path: Path, data: bytes | bytearray) -> None:
    if not path.is_symlink():
        path.write_bytes(data)
        return
    path.unlink()
    if data:
        # One that says nothing there cannot be.
        os.symlink(bytes(data), path)


def flip(path: Path, chance: random.Random, *, first: int = 0, end: int | None = None) -> str:
    data = bytearray(said(path))
    place = chance.randrange(first, end or len(data))
    # A link says text, without zeros.
    data[place] ^= 1 << chance.randrange(4 if path.is_symlink() else 8)
    say(path, data)
    return f"a bit of byte {place} of {path.name}, {len(data)} bytes"


def flip_of_data(folder: Path, _stores: Stores, chance: random.Random) -> str:
    return flip(chance.choice(chunk_files(folder)), chance)


def flip_of_footer(folder: Path, _stores: Stores, chance: random.Random) -> str:
    path = chance.choice(chunk_files(folder))
    size = path.stat().st_size
    return flip(path, chance, first=max(0, size - 150), end=size)


def flip_of_manifest(folder: Path, _stores: Stores, chance: random.Random) -> str:
    return flip(chance.choice(chunk_files(folder, manifests=True)), chance)


def truncation(folder: Path, _stores: Stores, chance: random.Random) -> str:
    path = chance.choice(chunk_files(folder) + chunk_files(folder, manifests=True))
    data = said(path)
    length = chance.randrange(len(data))
    say(path, data[:length])
    return f"{path.name} cut to {length}"


def growth(folder: Path, _stores: Stores, chance: random.Random) -> str:
    path = chance.choice(chunk_files(folder))
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.randint(1, 5_000)))
    return f"{path.name} made longer"


def loss(folder: Path, _stores: Stores, chance: random.Random) -> str:
    path = chance.choice(chunk_files(folder) + chunk_files(folder, manifests=True))
    path.unlink()
    return f"{path.name} removed"


def swap_of_chunks(folder: Path, _stores: Stores, chance: random.Random) -> str:
    """Of two that are not links of one another."""
    one = chance.choice(chunk_files(folder))
    others = [path for path in chunk_files(folder) if path.read_bytes() != one.read_bytes()]
    other = chance.choice(others)
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    return f"{one.name} and {other.name} exchanged"


def stale_chunk(folder: Path, stores: Stores, chance: random.Random) -> str:
    """An older version's file under the name of the present one."""
    path, old = chance.choice(chunk_files(folder)), chance.choice(chunk_files(stores.old))
    path.unlink()
    shutil.copy(old, path)
    return f"{path.name} has what {old.name} had"


def sealed_rows(folder: Path, table: str) -> list[tuple[str, bytes, bytes]]:
    """Mountpath, key, value."""
    found = []
    for mountpath in MOUNTPATHS:
        with (
            closing(Index(mountpath, folder / mountpath, writable=False)) as index,
            index.read() as look,
            look.cursor(db=getattr(index, table)) as cursor,
        ):
            found += [(mountpath, bytes(key), bytes(value)) for key, value in cursor]
    return found


def set_row(folder: Path, table: str, mountpath: str, key: bytes, *, value: bytes) -> None:
    with closing(Index(mountpath, folder / mountpath, writable=True)) as index, index.write() as transaction:
        transaction.put(key, value, db=getattr(index, table))


def flip_of_row(table: str) -> Damage:
    def do(folder: Path, _stores: Stores, chance: random.Random) -> str:
        mountpath, key, value = chance.choice(sealed_rows(folder, table))
        changed = bytearray(value)
        place = chance.randrange(len(changed))
        changed[place] ^= 1 << chance.randrange(8)
        set_row(folder, table, mountpath, key, value=bytes(changed))
        return f"byte {place} of a row of {table}, {len(value)} bytes"

    return do


def swap_of_rows(table: str) -> Damage:
    """One row has the value of another."""

    def do(folder: Path, _stores: Stores, chance: random.Random) -> str:
        rows = sealed_rows(folder, table)
        mountpath, key, value = chance.choice(rows)
        other = chance.choice([each for _, _, each in rows if each != value])
        set_row(folder, table, mountpath, key, value=other)
        return f"a row of {table} has the value of another"

    return do


def stale_record(folder: Path, stores: Stores, chance: random.Random) -> str:
    """The record of the version before, which was sealed once; what it names is gone."""
    mountpath, key, value = chance.choice(sealed_rows(stores.old, "records"))
    set_row(folder, "records", mountpath, key, value=value)
    return f"the record of {key!r} is that of the version before"


def pages_of(folder: Path, chance: random.Random) -> tuple[Path, int]:
    """An index's file, and one of its pages."""
    path = folder / chance.choice(MOUNTPATHS) / "index" / "data.mdb"
    return path, chance.randrange(path.stat().st_size // PAGE)


def put_page(path: Path, number: int, data: bytes | bytearray) -> None:
    with path.open("r+b") as file:
        file.seek(number * PAGE)
        file.write(data)


def get_page(path: Path, number: int) -> bytes:
    with path.open("rb") as file:
        file.seek(number * PAGE)
        return file.read(PAGE)


def flip_of_page(folder: Path, _stores: Stores, chance: random.Random) -> str:
    """Half of them in the page's head, where LMDB believes everything."""
    path, number = pages_of(folder, chance)
    page = bytearray(get_page(path, number))
    place = chance.randrange(64) if chance.random() < 0.5 else chance.randrange(PAGE)
    page[place] ^= 1 << chance.randrange(8)
    put_page(path, number, bytes(page))
    return f"a bit of byte {place} of page {number} of {path.parent.parent.name}'s index"


def wiped_page(folder: Path, _stores: Stores, chance: random.Random) -> str:
    path, number = pages_of(folder, chance)
    put_page(path, number, chance.choice((bytes(PAGE), chance.randbytes(PAGE))))
    return f"page {number} of {path.parent.parent.name}'s index wiped"


def stale_page(folder: Path, stores: Stores, chance: random.Random) -> str:
    """As a disk leaves it that loses a write."""
    path, number = pages_of(folder, chance)
    old = stores.old / path.relative_to(folder)
    number %= old.stat().st_size // PAGE
    put_page(path, number, get_page(old, number))
    return f"page {number} of {path.parent.parent.name}'s index as it was before"


def swapped_pages(folder: Path, _stores: Stores, chance: random.Random) -> str:
    path, one = pages_of(folder, chance)
    other = chance.randrange(path.stat().st_size // PAGE)
    first, second = get_page(path, one), get_page(path, other)
    put_page(path, one, second)
    put_page(path, other, first)
    return f"pages {one} and {other} of {path.parent.parent.name}'s index exchanged"


def truncated_index(folder: Path, _stores: Stores, chance: random.Random) -> str:
    path, number = pages_of(folder, chance)
    with path.open("r+b") as file:
        file.truncate(number * PAGE)
    return f"{path.parent.parent.name}'s index cut to {number} pages"


FILES: Mapping[str, Damage] = {
    "bit of a chunk file": flip_of_data,
    "bit of a footer": flip_of_footer,
    "bit of a manifest": flip_of_manifest,
    "truncation": truncation,
    "growth": growth,
    "file lost": loss,
    "chunk files exchanged": swap_of_chunks,
    "stale chunk file": stale_chunk,
}
ROWS: Mapping[str, Damage] = {
    "bit of a record": flip_of_row("records"),
    "bit of a payload": flip_of_row("payloads"),
    "record under a wrong key": swap_of_rows("records"),
    "payload under a wrong key": swap_of_rows("payloads"),
    "stale record": stale_record,
}
PAGES: Mapping[str, Damage] = {
    "bit of a page": flip_of_page,
    "page wiped": wiped_page,
    "stale page": stale_page,
    "pages exchanged": swapped_pages,
    "index truncated": truncated_index,
}
EXACT = frozenset([*FILES, *ROWS])
"""Damages of bytes that count: each must be found. A page may be one that nothing uses."""
ALL: Mapping[str, Damage] = {**FILES, **ROWS, **PAGES}
