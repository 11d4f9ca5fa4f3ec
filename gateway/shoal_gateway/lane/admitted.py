"""What follows from the buckets as they are, remembered for as long as nothing about buckets changes.

To find a bucket and to ask whether a caller may do this to it gives the same for every object of the bucket. So does
judging a head that differs from one judged before in the object's name alone. Both take more of a small answer's time
than reading the object does. So what `Buckets.known` said is kept until it would have to think again: until any
bucket was made, changed or removed, or this process stood still. Nothing that was refused is kept, nor anything of an
object.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Generic, TypeVar

from shoal_core.access import Permission, Principal
from shoal_core.objects import OBJECT_NAME_BYTES_MAX, Bucket, BucketReference
from shoal_gateway.lane.requests import OBJECTS
from shoal_gateway.parts import Buckets

K = TypeVar("K")
V = TypeVar("V")

KEPT_MAX = 1024
REPEATED = re.compile(
    rb"(GET %b[!\"$&-.0-9:;<=>@-~]+/)([!\"$&-/0-9:;<=>@-~]{1,%d})((?:\?provider=ais)? HTTP/1\.1\r\n(?s:.)*)"
    % (OBJECTS, OBJECT_NAME_BYTES_MAX)
)
"""A GET through AIStore's API, with no query or the SDK's: what is before the name, a name that stands for itself, the
rest."""


class WhileUnchanged(Generic[K, V]):
    """A dictionary that is empty again when buckets have changed."""

    def __init__(self, buckets: Buckets) -> None:
        self._state = buckets.state
        self._seen: object = None
        self._kept: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        state = self._state()
        if state is not self._seen or state is None:
            self._seen, self._kept = state, {}
        return self._kept.get(key)

    def keep(self, key: K, value: V) -> None:
        """Right after `get` found nothing."""
        if len(self._kept) >= KEPT_MAX:
            self._kept = {}
        self._kept[key] = value


class Admitted:
    """Of one permission."""

    def __init__(self, buckets: Buckets, permission: Permission) -> None:
        self._buckets = buckets
        self._permission = permission
        self._found = WhileUnchanged[tuple[bytes, int], tuple[Bucket, Principal]](buckets)
        """By the bucket's name and the principal's identity: the principal is kept, so nobody else gets its number."""

    def bucket(self, raw_name: bytes, principal: Principal) -> Bucket | None:
        """None for one that this process does not know. Raises PermissionDenied."""
        key = raw_name, id(principal)
        if (found := self._found.get(key)) is not None:
            return found[0]
        bucket = self._buckets.known(
            plain_reference(raw_name), permission=self._permission, principal=principal
        )
        if bucket is not None:
            self._found.keep(key, (bucket, principal))
        return bucket


@lru_cache(1024)
def plain_reference(raw_bucket: bytes) -> BucketReference:
    """Which rules the name breaks does not matter here: no such bucket is known."""
    return BucketReference(raw_bucket.decode())
