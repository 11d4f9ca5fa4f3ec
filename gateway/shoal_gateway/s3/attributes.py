"""GetObjectAttributes: what is known of an object, as far as the caller asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from shoal_core.multipart import PARTS_MAX
from shoal_core.objects import Bucket, ObjectInfo
from shoal_core.part_runs import PartPlace, count_of, places
from shoal_gateway.parts import Parts
from shoal_gateway.rest.conditions import parse_preconditions
from shoal_gateway.s3.answers import answer_xml
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.object_headers import checksum_leaves, validators
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.xml import document, element, leaf, leaves

HEADER = "x-amz-object-attributes"
PARTS_PAGE_MAX = 1000


class AttributeOperations:
    def __init__(self, parts: Parts) -> None:
        self._store = parts.objects

    async def get(self, bucket: Bucket, request: S3Request) -> None:
        names = asked_for(request)
        preconditions = parse_preconditions(request.call.headers)
        info = await self._store.head(bucket, request.key, preconditions=preconditions)
        content = [make(info, request) for name, make in ATTRIBUTES.items() if name in names]
        body = document("GetObjectAttributesResponse", *content)
        # Of the validators the date alone: the etag is for those who ask for it.
        await answer_xml(request, body, headers=validators(info)[1:])


def asked_for(request: S3Request) -> frozenset[str]:
    """Raises S3Error for none, and for one that does not exist."""
    names = frozenset(request.listed(HEADER))
    if not names:
        raise S3Error(
            "InvalidRequest", f"The {HEADER} header specifying the attributes to be retrieved is missing."
        )
    if not names <= ATTRIBUTES.keys():
        raise S3Error("InvalidArgument", "Invalid attribute name specified.")
    return names


def etag(info: ObjectInfo, _request: S3Request) -> str:
    return leaf("ETag", info.etag)


def checksum(info: ObjectInfo, _request: S3Request) -> str:
    """Nothing for an object without one."""
    found = checksum_leaves(info.headers)
    return element("Checksum", found) if found else ""


def object_parts(info: ObjectInfo, request: S3Request) -> str:
    """Nothing for an object that came in one piece. Checksums of parts are not kept once they are an object."""
    if not info.parts:
        return ""
    marker = header_number(request, "x-amz-part-number-marker", default=0, largest=PARTS_MAX)
    limit = header_number(request, "x-amz-max-parts", default=PARTS_PAGE_MAX, largest=PARTS_PAGE_MAX)
    following = (place for place in places(info.parts) if place.number > marker)
    shown = list(islice(following, limit))
    more = next(following, None) is not None
    return element(
        "ObjectParts",
        leaves([("PartsCount", count_of(info.parts)), ("PartNumberMarker", marker)]),
        leaf("NextPartNumberMarker", shown[-1].number if shown else 0),
        leaves([("MaxParts", limit), ("IsTruncated", str(more).lower())]),
        *(element("Part", part_leaves(place)) for place in shown),
    )


def part_leaves(place: PartPlace) -> str:
    return leaves([("PartNumber", place.number), ("Size", place.size)])


def storage_class(_info: ObjectInfo, _request: S3Request) -> str:
    return leaf("StorageClass", "STANDARD")


def object_size(info: ObjectInfo, _request: S3Request) -> str:
    return leaf("ObjectSize", info.size)


ATTRIBUTES: Mapping[str, Callable[[ObjectInfo, S3Request], str]] = {
    "ETag": etag,
    "Checksum": checksum,
    "ObjectParts": object_parts,
    "StorageClass": storage_class,
    "ObjectSize": object_size,
}
"""In the order of AWS's answer."""


def header_number(request: S3Request, name: str, *, default: int, largest: int) -> int:
    """As `S3Request.number`, of a header. Raises S3Error."""
    given = request.header(name)
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 12):
        raise S3Error("InvalidArgument", f"Provided {name} not an integer or within integer range.")
    return min(int(given), largest)
