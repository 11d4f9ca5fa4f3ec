"""How parts become one object: which of them, in which order, and what etag and checksum follow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from shoal_core.multipart import PARTS_MAX, PartChoice, PartInfo, UploadInfo
from shoal_gateway.s3.checksums import (
    ALGORITHMS,
    COMBINED,
    COMPOSITE,
    FULL_OBJECT,
    PREFIX,
    TYPE,
    algorithm_of,
    combined,
    composite,
    decoded,
)
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.part_reads import part_number
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.xml import Element, malformed

PART_BYTES_MIN = 5 << 20
"""Of every part but the last."""
ALGORITHM = f"{PREFIX}algorithm"
SIZE = "x-amz-mp-object-size"
MD5_HEX = re.compile(r"[0-9a-f]{32}")


def chosen_checksum(request: S3Request) -> dict[str, str]:
    """The algorithm and type that the upload is begun with, as headers that stay with it."""
    algorithm = request.header(ALGORITHM).lower()
    kind = request.header(TYPE).upper()
    if not algorithm:
        return {}
    if algorithm not in ALGORITHMS:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    default = FULL_OBJECT if algorithm == "crc64nvme" else COMPOSITE
    impossible = COMPOSITE if algorithm == "crc64nvme" else FULL_OBJECT if algorithm not in COMBINED else ""
    if kind not in ("", FULL_OBJECT, COMPOSITE) or (kind and kind == impossible):
        raise S3Error("InvalidRequest", f"The {kind} checksum type cannot be used with {algorithm}.")
    return {ALGORITHM: algorithm.upper(), TYPE: kind or default}


def chosen_parts(wanted: Element) -> Sequence[tuple[PartChoice, Element]]:
    """The client's list. Raises S3Error unless its numbers ascend."""
    elements = wanted.all("Part")
    if not 1 <= len(elements) <= PARTS_MAX:
        raise malformed(f"1 to {PARTS_MAX} parts make an object")
    choices = [(PartChoice(part_number(each.value("PartNumber")), etag_of(each)), each) for each in elements]
    numbers = [choice.number for choice, _ in choices]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise S3Error(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        )
    return choices


def etag_of(part: Element) -> str:
    etag = (part.value("ETag") or "").strip('"')
    if not etag:
        raise malformed("a part has no ETag")
    return etag.lower()


def matched(
    choices: Sequence[tuple[PartChoice, Element]], present: Mapping[int, PartInfo]
) -> Sequence[PartInfo]:
    """The parts that are there for the client's list. Raises S3Error for one that is not, or is too small."""
    parts = []
    for choice, element in choices:
        part = present.get(choice.number)
        if part is None or part.etag != choice.etag:
            raise invalid_part(PartNumber=str(choice.number), ETag=choice.etag)
        for name in ALGORITHMS:
            claimed = element.value(f"Checksum{name.upper()}")
            if claimed is not None and part.headers.get(f"{PREFIX}{name}", claimed) != claimed:
                raise invalid_part(PartNumber=str(choice.number), ETag=choice.etag)
        parts.append(part)
    for part in parts[:-1]:
        if part.size < PART_BYTES_MIN:
            raise S3Error(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=str(part.size),
                MinSizeAllowed=str(PART_BYTES_MIN),
                PartNumber=str(part.number),
                ETag=part.etag,
            )
    return parts


def whole_checksum(upload: UploadInfo, parts: Sequence[PartInfo], request: S3Request) -> dict[str, str]:
    """The object's checksum as headers, if every part has one of the algorithm. Raises S3Error unless it is what the
    client says, and for one that the client says and that nothing is known of."""
    algorithm = upload.headers.get(ALGORITHM, "crc64nvme").lower()
    name = f"{PREFIX}{algorithm}"
    claimed = request.header(name)
    values = [part.headers.get(name) for part in parts]
    digests = [decoded(value, algorithm) for value in values if value]
    known = {name} if len(digests) == len(parts) else set[str]()
    if unknown := {each for each in request.call.headers if algorithm_of(each)} - known:
        raise S3Error(
            "InvalidRequest",
            f"The {min(unknown)} header cannot be verified: the upload and its parts have no checksums of that kind.",
        )
    if not known:
        return {}
    kind = upload.headers.get(TYPE, FULL_OBJECT)
    if kind == COMPOSITE:
        whole = composite(algorithm, digests)
    else:
        sizes = [part.size for part in parts]
        whole = combined(algorithm, list(zip(digests, sizes, strict=True)))
    if claimed and claimed != whole:
        raise S3Error(
            "BadDigest", f"The {algorithm.upper()} you specified did not match the calculated checksum."
        )
    return {name: whole, TYPE: kind}


def check_size(parts: Sequence[PartInfo], request: S3Request) -> None:
    """Against the client's word, if it gave one. Raises S3Error."""
    claimed, size = request.header(SIZE), sum(part.size for part in parts)
    if claimed and claimed != str(size):
        raise S3Error(
            "InvalidRequest",
            f"The provided '{SIZE}' header value {claimed[:20]} does not match what was computed: {size}",
        )


def invalid_part(**details: str) -> S3Error:
    return S3Error(
        "InvalidPart",
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag.",
        **details,
    )
