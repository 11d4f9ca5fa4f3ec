"""Jobs that AIStore's clients start by an action on a bucket."""

from __future__ import annotations

import msgspec

from shoal.job.v1.job_pb2 import StartRechunkRequest
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal_core import messages
from shoal_core.errors import InvalidArgument, NotImplementedYet
from shoal_core.objects import BucketReference
from shoal_core.rpc import call
from shoal_gateway.control import CHANGE_SECONDS_MAX, explained
from shoal_gateway.parts import ProxyChannel

INT64_MAX = (1 << 63) - 1


class RechunkMessage(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """The value of action `rechunk`. What it rewrites is much, so a misspelt field must not be a default."""

    objsize_limit: int
    """Bytes. Larger objects become chunks; 0: all become one file each."""
    chunk_size: int = 0
    """Bytes of each chunk, 1 MiB or more."""
    prefix: str = ""
    """Only objects whose names begin so."""
    sync_remote: bool = False
    """The remote backend's, too: not built yet."""


async def start_rechunk(proxy: ProxyChannel, bucket: BucketReference, value: RechunkMessage | None) -> str:
    """The job's id; of the one that runs, if it was asked for in the same words. Raises Conflict in others."""
    if value is None:
        raise InvalidArgument(
            'a rechunk needs its value, such as {"objsize-limit":1048576,"chunk-size":1048576}'
        )
    if value.sync_remote:
        raise NotImplementedYet("sync-remote: buckets with a remote backend are not built yet")
    if not (0 <= value.objsize_limit <= INT64_MAX and 0 <= value.chunk_size <= INT64_MAX):
        raise InvalidArgument("objsize-limit and chunk-size are bytes: send numbers from 0 on")
    request = StartRechunkRequest(
        bucket=messages.bucket_reference_to_message(bucket),
        chunk_above_bytes=value.objsize_limit,
        chunk_bytes=value.chunk_size,
        prefix=value.prefix,
    )
    channel, peer = proxy()
    with explained(peer):
        response = await call(
            JobServiceStub(channel).StartRechunk,
            request,
            timeout_seconds=CHANGE_SECONDS_MAX,
            # A job that a lost answer started is the one that runs.
            idempotent=True,
            peer=peer,
        )
    return response.job.id
