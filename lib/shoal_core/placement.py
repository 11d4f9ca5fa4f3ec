"""Which target holds which slot: 65,536 slots, weighted rendezvous hashing, a pure function of the epoch's targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy
import xxhash
from numpy.typing import NDArray

from shoal_core.objects import BucketId

SLOTS = 65_536
PLACEMENTS_KEPT = 4
LOGARITHM_OF_2 = 0.6931471805599453
SQUARE_ROOT_HALF = 0.7071067811865476
LOGARITHM_TERMS = 11
"""Of the series for ln; the next one would be less than a double can tell."""


def slot_of(bucket_id: BucketId, name: str) -> int:
    return slot_of_encoded(bucket_id, name.encode())


def slot_of_encoded(bucket_id: BucketId, encoded_name: bytes) -> int:
    return slot_of_hash(name_hash(bucket_id, encoded_name))


def name_hash(bucket_id: BucketId, encoded_name: bytes) -> bytes:
    """8 bytes, by which names are spread over slots, and within a target over its mountpaths."""
    return xxhash.xxh3_64_digest(bucket_id + b"\0" + encoded_name)


def slot_of_hash(hashed: bytes) -> int:
    """As `slot_of_encoded`, for whoever has the name's hash already."""
    return hashed[0] << 8 | hashed[1]


@dataclass(frozen=True, slots=True)
class PlacedTarget:
    id: str
    weight: float
    """Greater than 0; shares of slots are proportional to it."""
    failure_domain: str = ""
    """Empty means the target itself."""


@dataclass(frozen=True)
class Placement:
    """The ranking of the targets for every slot. Computed once an epoch."""

    epoch: int
    targets: tuple[PlacedTarget, ...]

    @classmethod
    def of(cls, epoch: int, targets: Iterable[PlacedTarget]) -> Placement:
        """Maps that place alike share one placement: ranking a hundred targets takes a third of a second."""
        return placement_of(epoch, tuple(sorted(targets, key=lambda target: target.id)))

    def primary(self, slot: int) -> str:
        return self.primary_ids[slot]

    def rank(self, slot: int) -> tuple[str, ...]:
        """All targets, best first, at most one of each failure domain until the domains run out."""
        order = [self.targets[i] for i in numpy.argsort(-self._scores[:, slot], kind="stable")]
        ranked: list[PlacedTarget] = []
        while order:
            seen: set[str] = set()
            later: list[PlacedTarget] = []
            for target in order:
                domain = target.failure_domain or target.id
                (later if domain in seen else ranked).append(target)
                seen.add(domain)
            order = later
        return tuple(target.id for target in ranked)

    def owned(self, target_id: str) -> bytes:
        """Bitmap of 8,192 bytes: bit `slot & 7` of byte `slot >> 3`."""
        ids = [target.id for target in self.targets]
        if target_id not in ids:
            return bytes(SLOTS // 8)
        return numpy.packbits(self._primaries == ids.index(target_id), bitorder="little").tobytes()

    @cached_property
    def primary_ids(self) -> list[str]:
        """As a list, since one number of an array takes long to get."""
        ids = [target.id for target in self.targets]
        return [ids[number] for number in self._primaries.tolist()]

    @cached_property
    def _primaries(self) -> NDArray[numpy.intp]:
        primaries: NDArray[numpy.intp] = self._scores.argmax(axis=0)
        return primaries

    @cached_property
    def _scores(self) -> NDArray[numpy.float64]:
        """`-weight / ln(u)`, u uniform in (0, 1) from a hash of slot and target."""
        slots = numpy.arange(SLOTS, dtype=numpy.uint64)
        rows = []
        for target in self.targets:
            mixed = mix(
                slots * numpy.uint64(0x9E3779B97F4A7C15)
                ^ numpy.uint64(xxhash.xxh3_64_intdigest(target.id.encode()))
            )
            uniform = ((mixed >> numpy.uint64(11)).astype(numpy.float64) + 0.5) * 2.0**-53
            rows.append(target.weight / minus_logarithm(uniform))
        return numpy.array(rows)


@lru_cache(maxsize=PLACEMENTS_KEPT)
def placement_of(epoch: int, targets: tuple[PlacedTarget, ...]) -> Placement:
    return Placement(epoch, targets)


def mix(values: NDArray[numpy.uint64]) -> NDArray[numpy.uint64]:
    """SplitMix64's finaliser: every input bit moves every output bit."""
    values = (values ^ (values >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return values ^ (values >> numpy.uint64(31))


def minus_logarithm(values: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """-ln of values in (0, 1), from additions, multiplications and divisions only.

    Those are exact to the last bit on every processor; a library's logarithm is not, and two machines that
    differ in one bit could disagree on who owns a slot.
    """
    mantissa, exponent = numpy.frexp(values)
    small = mantissa < SQUARE_ROOT_HALF
    mantissa = numpy.where(small, mantissa * 2, mantissa)
    ratio = (mantissa - 1) / (mantissa + 1)
    square = ratio * ratio
    series = numpy.zeros_like(ratio)
    for divisor in range(LOGARITHM_TERMS * 2 - 1, 0, -2):
        series = series * square + 1.0 / divisor
    result: NDArray[numpy.float64] = -((exponent - small) * LOGARITHM_OF_2 + 2 * ratio * series)
    return result
