"""What is said of each operation of S3 that is built. Its parameters, headers and bodies are as AWS documents them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

XML = "application/xml"
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class S3Documentation:
    """`media_type` is that of an answer that has a body."""

    summary: str
    media_type: str = ""


S3_DOCUMENTATION: Mapping[str, S3Documentation] = {
    "ListBuckets": S3Documentation("List all buckets.", XML),
    "CreateBucket": S3Documentation("Make a bucket."),
    "HeadBucket": S3Documentation("Tell whether a bucket is there."),
    "DeleteBucket": S3Documentation("Remove an empty bucket."),
    "ListObjects": S3Documentation("List a page of names, by marker.", XML),
    "ListObjectsV2": S3Documentation("List a page of names, by continuation token.", XML),
    "GetBucketLocation": S3Documentation("Tell the region.", XML),
    "GetBucketVersioning": S3Documentation("Tell whether versions are kept.", XML),
    "ListMultipartUploads": S3Documentation("List uploads that were begun and not ended.", XML),
    "DeleteObjects": S3Documentation("Remove up to 1,000 objects by an XML list.", XML),
    "GetObject": S3Documentation("Read an object or a range of it.", BYTES),
    "HeadObject": S3Documentation("Tell what is known of an object."),
    "PutObject": S3Documentation("Write an object."),
    "CopyObject": S3Documentation("Copy the object that `x-amz-copy-source` names.", XML),
    "DeleteObject": S3Documentation("Remove an object."),
    "CreateMultipartUpload": S3Documentation("Begin an upload in parts.", XML),
    "UploadPart": S3Documentation("Write a part of an upload."),
    "UploadPartCopy": S3Documentation("Make a part out of (a range of) another object.", XML),
    "CompleteMultipartUpload": S3Documentation("Make an object of the parts that an XML list names.", XML),
    "AbortMultipartUpload": S3Documentation("Give up an upload, and free its parts."),
    "ListParts": S3Documentation("List the parts of an upload.", XML),
    "GetObjectAttributes": S3Documentation("Tell size, etag, checksum and parts of an object.", XML),
}
