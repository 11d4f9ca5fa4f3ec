"""ListMultipartUploads: pages of uploads, folded by a delimiter like names of objects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shoal_core.multipart import MultipartStore, UploadInfo, UploadQuery
from shoal_core.objects import Bucket
from shoal_gateway.s3.answers import OWNER
from shoal_gateway.s3.checksums import TYPE
from shoal_gateway.s3.completing import ALGORITHM
from shoal_gateway.s3.listing import TextWriter, text_writer
from shoal_gateway.s3.requests import S3Request
from shoal_gateway.s3.times import timestamp
from shoal_gateway.s3.xml import document, element, leaf, leaves
from shoal_store.folding import common_prefix

UPLOADS_MAX = 1000


@dataclass
class FoldedPage:
    uploads: list[UploadInfo] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    marker: tuple[str, str] = ("", "")
    """Name (or common prefix) and id of the last entry."""
    more: bool = False

    def __len__(self) -> int:
        return len(self.uploads) + len(self.prefixes)


async def listed_uploads(store: MultipartStore, bucket: Bucket, request: S3Request) -> bytes:
    """The answer's document."""
    limit = request.number("max-uploads", default=UPLOADS_MAX, largest=UPLOADS_MAX)
    delimiter, text = request.parameter("delimiter"), text_writer(request)
    query = UploadQuery(
        request.parameter("prefix"), request.parameter("key-marker"), request.parameter("upload-id-marker")
    )
    page = await folded(store, bucket, query, delimiter=delimiter, limit=limit)
    name, id = page.marker
    return document(
        "ListMultipartUploadsResult",
        leaves([("Bucket", request.bucket), ("KeyMarker", text(query.after_name))]),
        leaves([("UploadIdMarker", query.after_id), ("Prefix", text(query.prefix))]),
        leaf("Delimiter", text(delimiter)) if delimiter else "",
        leaves(
            [("NextKeyMarker", text(name)), ("NextUploadIdMarker", id)] if page.more and len(page) else []
        ),
        leaf("EncodingType", "url") if request.parameter("encoding-type") else "",
        leaves([("MaxUploads", limit), ("IsTruncated", str(page.more).lower())]),
        *(element("Upload", upload_leaves(upload, text)) for upload in page.uploads),
        *(element("CommonPrefixes", leaf("Prefix", text(prefix))) for prefix in page.prefixes),
    )


async def folded(
    store: MultipartStore, bucket: Bucket, query: UploadQuery, *, delimiter: str, limit: int
) -> FoldedPage:
    """At most `limit` uploads and common prefixes behind the query's place, which may be a common prefix itself."""
    page, query = FoldedPage(), replace(query, limit=max(limit, 1))
    passed = query.after_name if fold(query.after_name, query.prefix, delimiter) == query.after_name else ""
    while True:
        found = await store.list_uploads(bucket, query)
        for upload in found.uploads:
            common = fold(upload.name, query.prefix, delimiter)
            if common and common == passed:
                continue
            if len(page) == limit:
                page.more = True
                return page
            if common:
                passed, page.marker = common, (common, "")
                page.prefixes.append(common)
            else:
                page.marker = (upload.name, upload.id)
                page.uploads.append(upload)
        if not found.more:
            return page
        query = replace(query, after_name=found.uploads[-1].name, after_id=found.uploads[-1].id)


def fold(name: str, prefix: str, delimiter: str) -> str:
    return common_prefix(name.encode(), prefix.encode(), delimiter=delimiter.encode()).decode()


def upload_leaves(upload: UploadInfo, text: TextWriter) -> str:
    return (
        leaves([("Key", text(upload.name)), ("UploadId", upload.id)])
        + element("Initiator", leaf("ID", "shoal"), leaf("DisplayName", "shoal"))
        + OWNER
        + leaves([("StorageClass", "STANDARD"), ("Initiated", timestamp(upload.created_ns))])
        + algorithm_leaves(upload)
    )


def algorithm_leaves(upload: UploadInfo) -> str:
    """How the object will be checked, if the upload was begun with that."""
    names = {ALGORITHM: "ChecksumAlgorithm", TYPE: "ChecksumType"}
    return leaves([(names[name], upload.headers[name]) for name in names if name in upload.headers])
