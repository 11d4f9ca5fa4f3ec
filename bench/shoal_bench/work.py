"""The work that every system is given, in the same order."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shoal_bench.fill import fill
from shoal_bench.load import Load, Measured, list_all
from shoal_bench.systems import Running

BUCKET = "bench"


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
    sizes: tuple[Size, ...]

    @staticmethod
    def full() -> Scale:
        return Scale(
            10.0,
            (
                Size("4 KiB", 4 << 10, 50_000, 16),
                Size("1 MiB", 1 << 20, 200, 8),
                Size("64 MiB", 64 << 20, 8, 4),
            ),
        )

    @staticmethod
    def quick() -> Scale:
        return Scale(2.0, (Size("4 KiB", 4 << 10, 1_000, 16), Size("1 MiB", 1 << 20, 20, 8)))


def names(size: Size, kind: str) -> list[str]:
    """Paths of the objects that are read (`get`) or written (`put`)."""
    return [f"/{BUCKET}/{kind}-{size.bytes}/{number:06}" for number in range(size.objects)]


def measure(system: Running, scale: Scale, folder: Path) -> Iterator[tuple[str, Measured]]:
    """Row by row; reads of what was filled in before, writes of other names, a list of all of them."""
    create = urllib.request.Request(
        system.signer.endpoint + system.signer.path("PUT", f"/{BUCKET}"), data=b"", method="PUT"
    )
    urllib.request.urlopen(create).close()
    for size in scale.sizes:
        fill_with(system, size)
        yield f"GET {size.label}", read(system, size, scale, folder)
        paths = system.signer.paths("PUT", names(size, "put"))
        load = Load("PUT", paths, size.bytes, size.connections, scale.seconds)
        yield f"PUT {size.label}", load.run(system.signer.endpoint, folder, cpu=system.cpu)
    # Whatever a duration allowed to be written, the list shall have the same names everywhere.
    smallest = scale.sizes[0]
    rest = system.signer.paths("PUT", names(smallest, "put"))
    asyncio.run(fill(system.signer.endpoint, rest, bytes(smallest.bytes)))
    yield "LIST", list_all(system.signer, BUCKET, cpu=system.cpu)


def fill_with(system: Running, size: Size) -> None:
    paths = system.signer.paths("PUT", names(size, "get"))
    asyncio.run(fill(system.signer.endpoint, paths, bytes(size.bytes)))


def read(system: Running, size: Size, scale: Scale, folder: Path) -> Measured:
    paths = system.signer.paths("GET", names(size, "get"))
    load = Load("GET", paths, 0, size.connections, scale.seconds)
    # Once for the caches: what was just written may have left memory again, on machines that reclaim early.
    load.run(system.signer.endpoint, folder, cpu=system.cpu)
    return load.run(system.signer.endpoint, folder, cpu=system.cpu)


def measure_reads(system: Running, scale: Scale, folder: Path) -> Iterator[tuple[str, Measured]]:
    """Of a system that has the objects already."""
    for size in scale.sizes:
        yield f"GET {size.label}", read(system, size, scale, folder)


def make_files(root: Path, scale: Scale) -> None:
    """The same objects as files, for nginx."""
    for size in scale.sizes:
        for name in names(size, "get"):
            path = root / name.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(size.bytes))
