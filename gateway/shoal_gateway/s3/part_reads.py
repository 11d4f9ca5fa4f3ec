"""GetObject and HeadObject with `partNumber`: one part of an object, as its upload cut it."""

from __future__ import annotations

import re

from shoal_core.errors import PreconditionFailed
from shoal_core.multipart import PARTS_MAX
from shoal_core.objects import (
    Bucket,
    ByteRange,
    ObjectBody,
    ObjectInfo,
    ObjectStore,
    Preconditions,
    RangeRequest,
)
from shoal_core.part_runs import PartPlace, count_of, place_of
from shoal_gateway.exchange import Headers
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.requests import S3Request

ATTEMPTS = 5
MULTIPART_ETAG = re.compile(r"[0-9a-f]{32}-[0-9]+")


def part_number(given: str | None) -> int:
    """Raises S3Error."""
    if given is None or not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= PARTS_MAX):
        raise S3Error(
            "InvalidArgument", f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive"
        )
    return int(given)


def requested_part(request: S3Request) -> int | None:
    """Raises S3Error for one that no object can have, and together with a range."""
    if "partNumber" not in request.call.query:
        return None
    if request.header("range"):
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    return part_number(request.parameter("partNumber"))


def chosen_part(info: ObjectInfo, number: int) -> PartPlace:
    """What came in one piece is its own first part. Raises S3Error for a part that the object has not."""
    if not info.parts and MULTIPART_ETAG.fullmatch(info.etag):
        raise S3Error("NotImplemented", "This object was made before Shoal kept where its parts lie.")
    place = place_of(info.parts, number)
    if not info.parts and number == 1:
        place = PartPlace(1, 0, info.size)
    if place is None:
        raise S3Error(
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
            PartNumberRequested=str(number),
            ActualPartCount=str(count_of(info.parts) or 1),
        )
    return place


def range_of(place: PartPlace) -> ByteRange | None:
    """None for a part without bytes, which no range can name."""
    return ByteRange(place.offset, place.size) if place.size else None


def count_headers(info: ObjectInfo) -> Headers:
    return [(b"x-amz-mp-parts-count", b"%d" % count_of(info.parts))] if info.parts else []


async def open_part(
    store: ObjectStore, bucket: Bucket, key: str, *, number: int, preconditions: Preconditions
) -> tuple[ObjectInfo, ObjectBody | None]:
    """The part of the current version, None for one without bytes. Raises S3Error, and as `ObjectStore.open`."""
    for _ in range(ATTEMPTS):
        info = await store.head(bucket, key, preconditions=preconditions)
        place = chosen_part(info, number)
        if not place.size:
            return info, None
        wanted = RangeRequest(place.offset, place.offset + place.size - 1)
        try:
            same = Preconditions(if_version=info.version)
            return info, await store.open(bucket, key, range=wanted, preconditions=same)
        except PreconditionFailed:
            # Replaced since the look at its parts, which may lie elsewhere in the new one.
            continue
    raise S3Error("SlowDown", "The object is replaced all the time. Please repeat the request.")
