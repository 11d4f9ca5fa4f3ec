"""Which target holds which slot: 65,536 slots, weighted rendezvous hashing, a pure function of the epoch's targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import xxhash

from shoal_core.objects import BucketId

if TYPE_CHECKING:
    from shoal_core.ranking import Ranking

SLOTS = 65_536
PLACEMENTS_KEPT = 4


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
        order = [self.targets[number] for number in self._ranking.best_first(slot)]
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
        return self._ranking.owned(ids.index(target_id))

    @cached_property
    def primary_ids(self) -> list[str]:
        """As a list, since one number of an array takes long to get."""
        ids = [target.id for target in self.targets]
        return [ids[number] for number in self._ranking.primaries()]

    @cached_property
    def _ranking(self) -> Ranking:
        # Not at the top: NumPy takes a tenth of a second to import, and a command that asks others needs none of it.
        from shoal_core.ranking import Ranking

        return Ranking(self.targets, SLOTS)


@lru_cache(maxsize=PLACEMENTS_KEPT)
def placement_of(epoch: int, targets: tuple[PlacedTarget, ...]) -> Placement:
    return Placement(epoch, targets)
