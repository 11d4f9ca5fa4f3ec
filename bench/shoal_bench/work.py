"""The work that every system is given, in the same order."""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from shoal_bench.fill import fill
from shoal_bench.load import BenchFailed, Load, Measured, list_median
from shoal_bench.presign import Plain, Signer
from shoal_bench.systems import Running

BUCKET = "bench"
VARIANTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("not synced", {"durability": "os"}),
    ("not synced, no MD5", {"durability": "os", "s3_etag": "fast"}),
)
"""How large objects are written a second time, where buckets have these properties."""


@dataclass(frozen=True)
class Size:
    label: str
    bytes: int
    objects: int
    connections: int


@dataclass(frozen=True)
class Scale:
    """How much is done. Of small objects there are so many that no cache of answers or signatures could help."""

    seconds: float
    """Of each of the rounds of a row."""
    sizes: tuple[Size, ...]

    @staticmethod
    def full() -> Scale:
        return Scale(
            4.0,
            (
                Size("4 KiB", 4 << 10, 50_000, 16),
                Size("64 KiB", 64 << 10, 4_000, 16),
                Size("1 MiB", 1 << 20, 200, 8),
                Size("64 MiB", 64 << 20, 8, 4),
            ),
        )

    @staticmethod
    def quick() -> Scale:
        return Scale(1.0, (Size("4 KiB", 4 << 10, 1_000, 16), Size("1 MiB", 1 << 20, 20, 8)))


MANY_CONNECTIONS = 64
"""For the smallest objects a second time: groups of writes are what makes durable ones cheap."""
LARGE_BYTES = 1 << 20
"""From here on writes are measured in each variant too."""


def names(size: Size, kind: str, *, bucket: str = BUCKET) -> list[str]:
    """Paths of the objects that are read (`get`) or written (`put`)."""
    return [f"/{bucket}/{kind}-{size.bytes}/{number:06}" for number in range(size.objects)]


def body_of(size: Size) -> bytes:
    """The same at every call, and nothing that a system could compress."""
    return Random(size.bytes).randbytes(size.bytes)


@dataclass(frozen=True)
class Door:
    """One way to ask a system: `GET 4 KiB` through S3, `REST GET 4 KiB` through the other one."""

    prefix: str
    signer: Signer

    def paths(self, method: str, names: Sequence[str]) -> list[str]:
        return self.signer.paths(method, names)


def doors_of(system: Running) -> list[Door]:
    found = [Door("", system.signer)]
    if system.rest:
        found.append(Door("REST ", Plain(system.signer.endpoint, prefix="/v1/objects")))
    return found


def measure(system: Running, scale: Scale, folder: Path) -> Iterator[tuple[str, Measured]]:
    """Row by row; reads of what was filled in before, writes of other names, a list of all of them."""
    create_bucket(system, BUCKET)
    for size in scale.sizes:
        fill_with(system, size, "get")
        yield from read_rows(system, size, scale, folder)
        yield from write_rows(system, size, scale, folder)
    if system.set_properties is not None:
        for number, (variant, properties) in enumerate(VARIANTS):
            bucket = f"{BUCKET}-{number}"
            create_bucket(system, bucket)
            system.set_properties(bucket, properties)
            for size in scale.sizes:
                if size.bytes >= LARGE_BYTES:
                    yield from write_rows(system, size, scale, folder, bucket=bucket, variant=f", {variant}")
    if system.lists:
        # Whatever a duration allowed to be written, the list shall have the same names everywhere.
        fill_with(system, scale.sizes[0], "put")
        yield "LIST", list_median(system.signer, BUCKET, cpu=system.cpu)


def create_bucket(system: Running, bucket: str) -> None:
    url = system.signer.endpoint + system.signer.path("PUT", f"/{bucket}")
    urllib.request.urlopen(urllib.request.Request(url, data=b"", method="PUT")).close()


def fill_with(system: Running, size: Size, kind: str) -> None:
    paths = system.signer.paths("PUT", names(size, kind))
    asyncio.run(fill(system.signer.endpoint, paths, body_of(size)))


def read_rows(system: Running, size: Size, scale: Scale, folder: Path) -> Iterator[tuple[str, Measured]]:
    for door in doors_of(system):
        load = Load("GET", door.paths("GET", names(size, "get")), b"", size.connections, scale.seconds)
        yield from rows_of(system, f"{door.prefix}GET {size.label}", load, folder, warm=True)


def write_rows(
    system: Running, size: Size, scale: Scale, folder: Path, *, bucket: str = BUCKET, variant: str = ""
) -> Iterator[tuple[str, Measured]]:
    more = [MANY_CONNECTIONS] if size == scale.sizes[0] else []
    for door in doors_of(system):
        paths = door.paths("PUT", names(size, "put", bucket=bucket))
        for connections in (size.connections, *more):
            load = Load("PUT", paths, body_of(size), connections, scale.seconds)
            work = f"{door.prefix}PUT {size.label}" + (
                f", {connections} connections" if connections in more else ""
            )
            yield from rows_of(system, work + variant, load, folder, warm=False)


def rows_of(
    system: Running, work: str, load: Load, folder: Path, *, warm: bool
) -> Iterator[tuple[str, Measured]]:
    """One row; none for a peer that does not answer every request as it should."""
    try:
        if warm:
            load.warm(system.signer.endpoint, folder, cpu=system.cpu)
        yield work, load.median(system.signer.endpoint, folder, cpu=system.cpu)
    except BenchFailed as error:
        if system.is_ours:
            raise
        print(f"{system.name}: {work}: no figure: {error}", file=sys.stderr, flush=True)


def measure_reads(system: Running, scale: Scale, folder: Path) -> Iterator[tuple[str, Measured]]:
    """Of a system that has the objects already."""
    for size in scale.sizes:
        yield from read_rows(system, size, scale, folder)


def make_files(root: Path, scale: Scale) -> None:
    """The same objects as files, for nginx."""
    for size in scale.sizes:
        for name in names(size, "get"):
            path = root / name.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body_of(size))
