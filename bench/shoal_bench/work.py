"""The work that every system is given, in the same order."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from shoal_bench.fill import fill
from shoal_bench.load import Load, Measured
from shoal_bench.name_lists import rest_list_all, s3_list_all
from shoal_bench.presign import Plain, Signer
from shoal_bench.rows import Row, Subject
from shoal_bench.systems import Running

BUCKET = "bench"
VARIANTS: tuple[tuple[str, dict[str, str]], ...] = (
    (", not synced", {"durability": "os"}),
    (", not synced, no MD5", {"durability": "os", "s3_etag": "fast"}),
)
"""How large objects are written a second time, where buckets have these properties."""
VERIFIED = (", every read verified", {"verify": "always"})


@dataclass(frozen=True)
class Size:
    label: str
    bytes: int
    objects: int
    connections: int


@dataclass(frozen=True)
class Scale:
    """How much is done. Of small objects there are so many that no cache of answers or signatures could help."""

    seconds: int
    """Of each of the rounds of a row; wrk counts in whole ones."""
    sizes: tuple[Size, ...]
    listed_names: int = 1_000_000
    """In the listing of the engine alone."""
    large_mib: int = 1024
    """Of the object that is downloaded in parallel."""

    @staticmethod
    def full() -> Scale:
        return Scale(
            2,
            (
                Size("4 KiB", 4 << 10, 50_000, 16),
                Size("64 KiB", 64 << 10, 4_000, 16),
                Size("1 MiB", 1 << 20, 200, 8),
                Size("64 MiB", 64 << 20, 8, 4),
            ),
        )

    @staticmethod
    def quick() -> Scale:
        return Scale(
            1,
            (
                Size("4 KiB", 4 << 10, 1_000, 16),
                Size("64 KiB", 64 << 10, 200, 16),
                Size("1 MiB", 1 << 20, 20, 8),
                Size("64 MiB", 64 << 20, 2, 2),
            ),
            listed_names=10_000,
            large_mib=128,
        )

    def at_most(self, objects: int) -> Scale:
        """With fewer names, for a system that would take minutes to write them all."""
        return replace(
            self, sizes=tuple(replace(size, objects=min(size.objects, objects)) for size in self.sizes)
        )


MANY_CONNECTIONS = 64
"""For the smallest objects a second time: groups of writes are what makes durable ones cheap."""
LARGE_BYTES = 1 << 20
"""From here on writes are measured in each variant too, and reads with every read verified."""


def names(size: Size, kind: str, *, bucket: str = BUCKET) -> list[str]:
    """Paths of the objects that are read (`get`) or written (`put`)."""
    return [f"/{bucket}/{kind}-{size.bytes}/{number:06}" for number in range(size.objects)]


def body_of(size: Size) -> bytes:
    """The same at every call, and nothing that a system could compress."""
    return Random(size.bytes).randbytes(size.bytes)


@dataclass(frozen=True)
class Door:
    """One way to ask a system: `GET 4 KiB` through S3, `REST GET 4 KiB` through AIStore's API, which is not signed."""

    prefix: str

    def signer(self, system: Running) -> Signer:
        return Plain(system.signer.endpoint, prefix="/v1/objects") if self.prefix else system.signer


S3, REST = Door(""), Door("REST ")


@dataclass(frozen=True)
class Place:
    """A bucket, and the properties that it is given where buckets have them."""

    bucket: str = BUCKET
    variant: str = ""
    properties: tuple[tuple[str, str], ...] = ()

    def ready(self, subject: Subject) -> None:
        subject.once(self.bucket, lambda: create_bucket(subject.running, self.bucket, dict(self.properties)))


VARIANT_PLACES = tuple(
    Place(f"{BUCKET}-{number}", variant, tuple(properties.items()))
    for number, (variant, properties) in enumerate(VARIANTS)
)
VERIFIED_PLACE = Place(f"{BUCKET}-verified", VERIFIED[0], tuple(VERIFIED[1].items()))


def peer_rows(scale: Scale, *, lists: bool = True) -> list[Row]:
    """Of a system that speaks S3."""
    rows = [row for size in scale.sizes for row in (get_row(S3, size, scale), *put_rows(S3, size, scale))]
    return [*rows, list_row(S3, scale)] if lists else rows


def our_rows(scale: Scale) -> list[Row]:
    """Ours: through both doors, in each variant, and listed by both."""
    doors, large = (S3, REST), [size for size in scale.sizes if size.bytes >= LARGE_BYTES]
    rows = list[Row]()
    for size in scale.sizes:
        rows += [get_row(door, size, scale) for door in doors]
        rows += [row for door in doors for row in put_rows(door, size, scale)]
    rows += [get_row(door, size, scale, place=VERIFIED_PLACE) for size in large for door in doors]
    for place in VARIANT_PLACES:
        rows += [row for size in large for door in doors for row in put_rows(door, size, scale, place=place)]
    alone = replace(large[-1], connections=1)
    rows.append(put_row(REST, alone, scale, title=f"REST PUT {alone.label}, 1 connection"))
    return [*rows, *(list_row(door, scale) for door in doors)]


def remote_rows(scale: Scale) -> list[Row]:
    """Of a gateway that reads nothing itself; it finds what `our_rows` have filled."""
    sizes = [size for size in scale.sizes if size.label in ("64 KiB", "64 MiB")]
    return [get_row(door, size, scale) for size in sizes for door in (S3, REST)]


def file_rows(scale: Scale, root: Path) -> list[Row]:
    """Of a server of static files."""

    def row(size: Size) -> Row:
        def measure(subject: Subject) -> Measured:
            make_files(root, size)
            return subject.measured(get_load(S3, subject.running, size, scale, place=Place()), warm=True)

        return Row(f"GET {size.label}", measure, also=(f"REST GET {size.label}",))

    return [row(size) for size in scale.sizes]


def get_row(door: Door, size: Size, scale: Scale, *, place: Place = Place()) -> Row:
    def measure(subject: Subject) -> Measured:
        place.ready(subject)
        fill_once(subject, size, "get", bucket=place.bucket)
        return subject.measured(get_load(door, subject.running, size, scale, place=place), warm=True)

    return Row(f"{door.prefix}GET {size.label}{place.variant}", measure)


def get_load(door: Door, system: Running, size: Size, scale: Scale, *, place: Place) -> Load:
    paths = door.signer(system).paths("GET", names(size, "get", bucket=place.bucket))
    return Load("GET", paths, b"", size.connections, scale.seconds)


def put_rows(door: Door, size: Size, scale: Scale, *, place: Place = Place()) -> list[Row]:
    title = f"{door.prefix}PUT {size.label}"
    rows = [put_row(door, size, scale, place=place, title=title)]
    if size == scale.sizes[0]:
        many = replace(size, connections=MANY_CONNECTIONS)
        rows.append(put_row(door, many, scale, place=place, title=f"{title}, {MANY_CONNECTIONS} connections"))
    return rows


def put_row(door: Door, size: Size, scale: Scale, *, title: str, place: Place = Place()) -> Row:
    def measure(subject: Subject) -> Measured:
        place.ready(subject)
        paths = door.signer(subject.running).paths("PUT", names(size, "put", bucket=place.bucket))
        return subject.measured(
            Load("PUT", paths, body_of(size), size.connections, scale.seconds), warm=False
        )

    return Row(f"{title}{place.variant}", measure)


def list_row(door: Door, scale: Scale) -> Row:
    def measure(subject: Subject) -> Measured:
        Place().ready(subject)
        # Whatever a duration allowed to be written, the list shall have the same names everywhere.
        for kind in ("get", "put"):
            fill_once(subject, scale.sizes[0], kind)
        list_all = rest_list_all if door.prefix else s3_list_all
        return list_all(subject.running.signer, BUCKET, cpu=subject.running.cpu)

    return Row(f"{door.prefix}LIST", measure)


def create_bucket(system: Running, bucket: str, properties: Mapping[str, str]) -> None:
    url = system.signer.endpoint + system.signer.path("PUT", f"/{bucket}")
    urllib.request.urlopen(urllib.request.Request(url, data=b"", method="PUT")).close()
    if properties and system.set_properties is not None:
        system.set_properties(bucket, properties)


def fill_once(subject: Subject, size: Size, kind: str, *, bucket: str = BUCKET) -> None:
    system = subject.running
    subject.once(f"{bucket} {kind} {size.label}", lambda: fill_with(system, size, kind, bucket=bucket))


def fill_with(system: Running, size: Size, kind: str, *, bucket: str = BUCKET) -> None:
    paths = system.signer.paths("PUT", names(size, kind, bucket=bucket))
    asyncio.run(fill(system.signer.endpoint, paths, body_of(size)))


def make_files(root: Path, size: Size) -> None:
    """The same objects as files, for nginx."""
    for name in names(size, "get"):
        path = root / name.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body_of(size))
