"""Which target holds which slot: 65,536 slots, weighted rendezvous hashing, a pure function of the epoch's targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy
import xxhash
from numpy.typing import NDArray

from shoal_core.objects import BucketId

SLOTS = 65_536


def slot_of(bucket_id: BucketId, name: str) -> int:
    return int(xxhash.xxh3_64_intdigest(bucket_id + b"\0" + name.encode()) >> 48)


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
        return cls(epoch, tuple(sorted(targets, key=lambda target: target.id)))

    def primary(self, slot: int) -> str:
        return self.targets[int(self._primaries[slot])].id

    def rank(self, slot: int) -> tuple[str, ...]:
        """All targets, best first, at most one of each failure domain until the domains run out."""
        order = [self.targets[i] for i in numpy.argsort(self._scores[:, slot], kind="stable")[::-1]]
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
            rows.append(-target.weight / numpy.log(uniform))
        return numpy.array(rows)


def mix(values: NDArray[numpy.uint64]) -> NDArray[numpy.uint64]:
    """SplitMix64's finaliser: every input bit moves every output bit."""
    values = (values ^ (values >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return values ^ (values >> numpy.uint64(31))
