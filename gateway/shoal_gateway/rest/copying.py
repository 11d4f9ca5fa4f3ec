"""One object copied or renamed inside the cluster; the client sends names alone."""

from __future__ import annotations

from shoal_core.access import Permission
from shoal_core.errors import InvalidArgument, PreconditionFailed
from shoal_core.names import checked_object_name, checked_reference
from shoal_core.objects import Bucket, BucketReference, CopyRequest, ObjectInfo, Preconditions
from shoal_gateway.call import Call
from shoal_gateway.parts import Parts
from shoal_gateway.rest.actions import ActionMessage
from shoal_gateway.rest.conditions import parse_preconditions

DESTINATION = "object_to"
RENAME = "rename-obj"
ATTEMPTS = 5
"""Of a rename whose object is overwritten at the same time."""


class CopyRoutes:
    """What follows once the source's bucket is resolved and the caller may read it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def copy(self, source: Bucket, call: Call) -> ObjectInfo:
        """To where the query says. `latest-ver` and `synchronize` ask for what a bucket of our own does anyway."""
        reference, name = destination_of(call.query[DESTINATION])
        source_name, call.bucket = call.object_name, reference
        # Errors name the bucket that the call holds: this one may not exist.
        bucket = await self._parts.buckets.resolve(
            reference, permission=Permission.PUT, principal=call.principal
        )
        call.bucket = source.reference
        request = CopyRequest(
            source,
            source_name,
            checked_object_name(name),
            preconditions=parse_preconditions(call.headers),
        )
        return await self._parts.objects.copy(bucket, request)

    async def rename(self, bucket: Bucket, call: Call, message: ActionMessage) -> None:
        """In two steps, of which the first makes the new name and the second removes the old one: whoever looks in
        between sees both, and nobody none."""
        old, new = call.object_name, checked_object_name(message.name)
        if old == new:
            raise InvalidArgument(f"{old[:100]!r} has that name already: send another one in `name`")
        for attempt in reversed(range(ATTEMPTS)):
            info = await self._parts.objects.head(bucket, old)
            same = Preconditions(if_version=info.version)
            try:
                await self._parts.objects.copy(
                    bucket, CopyRequest(bucket, old, new, source_preconditions=same)
                )
                await self._parts.objects.delete(bucket, old, preconditions=same)
                return
            except PreconditionFailed:
                if not attempt:
                    raise


def destination_of(uname: str) -> tuple[BucketReference, str]:
    """Bucket and object of `provider/@uuid#namespace/bucket/object`. Raises InvalidArgument, InvalidName."""
    provider, namespace, bucket, name = [*uname.split("/", 3), "", "", ""][:4]
    if not name or not namespace.startswith("@"):
        raise InvalidArgument(f"{DESTINATION} is {uname[:100]!r}: write provider/@#/bucket/object")
    return checked_reference(bucket, provider=provider, namespace=namespace), name
