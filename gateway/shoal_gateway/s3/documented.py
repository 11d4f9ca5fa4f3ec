"""What is said of each operation of S3 that is built. Its parameters, headers and bodies are as AWS documents them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

XML = "application/xml"
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Document:
    """An XML body: its root, and what may stand directly in it; what may stand there many times ends with `*`."""

    root: str
    elements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class S3Documentation:
    """`media_type` is that of an answer that has a body."""

    summary: str
    media_type: str = ""
    answer: Document | None = None
    """If it is XML."""
    request: Document | None = None
    """The same of the request's body."""


def document(root: str, elements: str = "") -> Document:
    return Document(root, tuple(elements.split()))


def xml(summary: str, root: str, elements: str = "", *, request: Document | None = None) -> S3Documentation:
    """An operation that answers a document."""
    return S3Documentation(summary, XML, document(root, elements), request)


OF_LISTS = "Name Prefix MaxKeys Delimiter EncodingType IsTruncated Contents* CommonPrefixes*"
CHECKSUMS = "ChecksumCRC32 ChecksumCRC32C ChecksumCRC64NVME ChecksumSHA1 ChecksumSHA256 ChecksumType"
OF_PARTS = "Bucket Key UploadId Initiator Owner StorageClass PartNumberMarker NextPartNumberMarker MaxParts"

S3_DOCUMENTATION: Mapping[str, S3Documentation] = {
    "ListBuckets": xml("List all buckets.", "ListAllMyBucketsResult", "Owner Buckets"),
    "CreateBucket": S3Documentation(
        "Make a bucket.", request=document("CreateBucketConfiguration", "LocationConstraint")
    ),
    "HeadBucket": S3Documentation("Tell whether a bucket is there."),
    "DeleteBucket": S3Documentation("Remove an empty bucket."),
    "ListObjects": xml(
        "List a page of names, by marker.", "ListBucketResult", f"Marker NextMarker {OF_LISTS}"
    ),
    "ListObjectsV2": xml(
        "List a page of names, by continuation token.",
        "ListBucketResult",
        f"StartAfter ContinuationToken NextContinuationToken KeyCount {OF_LISTS}",
    ),
    "GetBucketLocation": xml("Tell the region.", "LocationConstraint"),
    "GetBucketVersioning": xml("Tell whether versions are kept.", "VersioningConfiguration"),
    "ListMultipartUploads": xml(
        "List uploads that were begun and not ended.",
        "ListMultipartUploadsResult",
        "Bucket KeyMarker UploadIdMarker Prefix Delimiter NextKeyMarker NextUploadIdMarker EncodingType MaxUploads "
        "IsTruncated Upload* CommonPrefixes*",
    ),
    "DeleteObjects": xml(
        "Remove up to 1,000 objects by an XML list.",
        "DeleteResult",
        "Deleted* Error*",
        request=document("Delete", "Object* Quiet"),
    ),
    "GetObject": S3Documentation("Read an object or a range of it.", BYTES),
    "HeadObject": S3Documentation("Tell what is known of an object."),
    "PutObject": S3Documentation("Write an object."),
    "CopyObject": xml(
        "Copy the object that `x-amz-copy-source` names.",
        "CopyObjectResult",
        f"ETag LastModified {CHECKSUMS}",
    ),
    "DeleteObject": S3Documentation("Remove an object."),
    "CreateMultipartUpload": xml(
        "Begin an upload in parts.", "InitiateMultipartUploadResult", "Bucket Key UploadId"
    ),
    "UploadPart": S3Documentation("Write a part of an upload."),
    "UploadPartCopy": xml(
        "Make a part out of (a range of) another object.", "CopyPartResult", f"ETag LastModified {CHECKSUMS}"
    ),
    "CompleteMultipartUpload": xml(
        "Make an object of the parts that an XML list names.",
        "CompleteMultipartUploadResult",
        f"Location Bucket Key ETag {CHECKSUMS}",
        request=document("CompleteMultipartUpload", "Part*"),
    ),
    "AbortMultipartUpload": S3Documentation("Give up an upload, and free its parts."),
    "ListParts": xml(
        "List the parts of an upload.",
        "ListPartsResult",
        f"{OF_PARTS} IsTruncated ChecksumAlgorithm ChecksumType Part*",
    ),
    "GetObjectAttributes": xml(
        "Tell size, etag, checksum and parts of an object.",
        "GetObjectAttributesResponse",
        "ETag Checksum ObjectParts StorageClass ObjectSize",
    ),
}
"""Elements within those are as AWS documents them."""
