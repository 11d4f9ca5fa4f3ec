"""Made-up buckets and cluster maps, for tests of routing that need no processes."""

from __future__ import annotations

from shoal_core.cluster_map import ClusterMap, Member, MemberRole
from shoal_core.objects import Bucket, BucketId, BucketProperties, BucketReference

BUCKET = Bucket(BucketReference("photos"), BucketId(b"bucketid"), 1, 0, BucketProperties())


def cluster_map_of(*targets: str) -> ClusterMap:
    """A map of these targets, all with the same weight."""
    members = tuple(Member(target, MemberRole.TARGET, alive=True, weight=1.0) for target in targets)
    return ClusterMap("c1", 1, 1, members)
