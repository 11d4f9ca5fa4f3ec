"""A copy by reading and writing the bytes, for stores that cannot link files, and between the owners of two names."""

from __future__ import annotations

from shoal_core.objects import Bucket, CopyRequest, Description, ObjectInfo, ObjectStore, PutRequest


async def copy_bytes(
    source: ObjectStore, destination: ObjectStore, bucket: Bucket, request: CopyRequest
) -> ObjectInfo:
    """Raises as `open` of the source and as `put`. The bytes go past the checksum that the source promises."""
    body = await source.open(request.source, request.source_name, preconditions=request.source_preconditions)
    try:
        return await destination.put(bucket, put_of_copy(request, body.info), body.chunks())
    finally:
        await body.close()


def put_of_copy(request: CopyRequest, source: ObjectInfo) -> PutRequest:
    description = request.description or Description(source.content_type, source.metadata, source.headers)
    return PutRequest(
        name=request.name,
        size=source.size,
        content_type=description.content_type,
        metadata=description.metadata,
        checksums=(source.checksum,) if source.checksum else (),
        etag=source.etag,
        preconditions=request.preconditions,
        headers=description.headers,
    )
