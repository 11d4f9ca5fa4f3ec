"""What the committer asks inside every transaction: is this target still a member, does the bucket still exist?"""

from __future__ import annotations

from shoal_core.buckets import BucketDirectory
from shoal_core.membership import Membership
from shoal_core.objects import BucketId


class WriteAuthority:
    """Implements `shoal_store`'s `Authority`; called from committer threads. No writes before `membership` is set."""

    def __init__(self, buckets: BucketDirectory) -> None:
        self._buckets = buckets
        self.membership: Membership | None = None

    def deadline(self) -> float:
        return self.membership.deadline() if self.membership is not None else 0.0

    def is_current(self, bucket_id: BucketId) -> bool:
        return self._buckets.is_current(bucket_id)
