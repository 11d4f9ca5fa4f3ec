"""From the bucket that a request names to the bucket, past the caller's rights and the age of its view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from shoal.common.v1 import common_pb2
from shoal.object.v1 import object_pb2
from shoal_core import messages
from shoal_core.access import Permission, Principal
from shoal_core.errors import StaleEpoch
from shoal_core.objects import Bucket, BucketReference
from shoal_core.rpc import current_principal

Admission = Callable[[object_pb2.Routing], Awaitable[None]]
"""Refuses callers that routed by an old view."""


class BucketResolver(Protocol):
    """What the services of objects need of `BucketDirectory`."""

    async def resolve(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket: ...


class BucketAdmission:
    def __init__(self, buckets: BucketResolver, *, admit: Admission | None) -> None:
        self._buckets = buckets
        self._admit = admit

    async def bucket(
        self, named: common_pb2.BucketReference, routing: object_pb2.Routing, permission: Permission
    ) -> Bucket:
        reference = messages.bucket_reference_from_message(named)
        if self._admit is not None:
            await self._admit(routing)
        bucket = await self._buckets.resolve(reference, permission=permission, principal=current_principal())
        if routing.bucket_id and routing.bucket_id != bucket.id:
            raise StaleEpoch(f"{reference} was made anew since the caller looked it up: look it up again")
        return bucket
