"""AIStore's short paths, `/ais/bucket/object` and `/metrics`, which are served as the long ones they stand for.

Such a path could as well be S3's. It is, when the request is signed as S3's are, or a bucket has that name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shoal_core.names import PROVIDERS
from shoal_core.objects import Bucket, BucketReference

METRICS = b"metrics"
LONG_METRICS = b"/-/metrics"
SIGNED_QUERY = (b"X-Amz-Signature=", b"Signature=")
PROVIDER_NAMES = {name.encode(): provider for name, provider in PROVIDERS.items() if name}


def long_path(
    raw_path: bytes,
    raw_query: bytes,
    *,
    signed: bool,
    buckets: Callable[[str], Sequence[Bucket]],
) -> tuple[bytes, bytes] | None:
    """Path and query that are meant; None for what is no short path. `signed`: the request has S3's header."""
    first, _, rest = raw_path[1:].partition(b"/")
    provider = PROVIDER_NAMES.get(first)
    if provider is None and (first != METRICS or rest):
        return None
    if signed or any(field in raw_query for field in SIGNED_QUERY):
        return None
    # S3 knows no namespaces, so no bucket in one can be meant.
    own = BucketReference(first.decode())
    if any(bucket.reference == own for bucket in buckets("ais")):
        return None
    if provider is None:
        return LONG_METRICS, raw_query
    bucket, slash, name = rest.partition(b"/")
    query = b"&".join(filter(None, (b"provider=" + provider.encode(), raw_query)))
    if name:
        return b"/v1/objects/" + bucket + slash + name, query
    return (b"/v1/buckets/" + bucket if bucket else b"/v1/buckets"), query
