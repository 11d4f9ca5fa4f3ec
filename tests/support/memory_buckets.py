"""The bucket directory and its control plane in one dictionary, for gateways around one store."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from shoal_core.access import Permission, Principal, authorize
from shoal_core.errors import BucketAlreadyExists, BucketNotFound
from shoal_core.objects import Bucket, BucketId, BucketProperties, BucketReference


class MemoryBuckets:
    """Buckets and their control plane in one dictionary."""

    def __init__(self, *buckets: Bucket) -> None:
        self._buckets = {bucket.reference: bucket for bucket in buckets}
        self._defaults = BucketProperties()

    async def resolve(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket:
        if (bucket := self.known(reference, permission=permission, principal=principal)) is None:
            raise BucketNotFound(f"{reference} does not exist")
        return bucket

    def known(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket | None:
        authorize(principal, permission, reference)
        return self._buckets.get(reference)

    def state(self) -> object:
        return self._buckets

    def list(self, provider: str = "") -> Sequence[Bucket]:
        buckets = self._buckets.values()
        return [each for each in buckets if provider in ("", each.reference.provider)]

    async def defaults(self) -> BucketProperties:
        return self._defaults

    async def set_defaults(self, properties: BucketProperties) -> None:
        self._defaults = properties

    async def create(self, reference: BucketReference, properties: BucketProperties | None = None) -> Bucket:
        if reference in self._buckets:
            raise BucketAlreadyExists(f"{reference} already exists")
        bucket = Bucket(reference, BucketId(os.urandom(8)), 1, time.time_ns(), properties or self._defaults)
        self._buckets = {**self._buckets, reference: bucket}
        return bucket

    async def update(self, reference: BucketReference, properties: BucketProperties) -> Bucket:
        bucket = replace(self._buckets[reference], properties=properties)
        self._buckets = {**self._buckets, reference: bucket}
        return bucket

    async def delete(self, reference: BucketReference) -> None:
        if reference not in self._buckets:
            raise BucketNotFound(f"{reference} does not exist")
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key != reference}
