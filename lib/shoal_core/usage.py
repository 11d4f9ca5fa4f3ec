"""What a bucket holds, as numbers that can be added up over indexes and targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BucketUsage:
    """JSON in etcd: fields are only ever added, with defaults."""

    objects: int = 0
    bytes: int = 0
    """Of their contents."""
    bytes_on_disk: int = 0
    """Of rows and chunk files, those of older versions too."""
    smallest_bytes: int = 0
    """Of the smallest object; 0 when there is none."""
    largest_bytes: int = 0


def together(parts: Iterable[BucketUsage]) -> BucketUsage:
    """The usage of all parts."""
    found = list(parts)
    return BucketUsage(
        objects=sum(part.objects for part in found),
        bytes=sum(part.bytes for part in found),
        bytes_on_disk=sum(part.bytes_on_disk for part in found),
        smallest_bytes=min((part.smallest_bytes for part in found if part.objects), default=0),
        largest_bytes=max((part.largest_bytes for part in found), default=0),
    )
