"""Which operation of S3 a request is: method, bucket or object, and the query field that names a sub-resource.

What a request may not do by accident, it must not fall through to: `PUT /bucket?acl` is PutBucketAcl, not CreateBucket.
Names of operations as in the Amazon S3 API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from shoal_core.access import Permission
from shoal_gateway.s3.errors import S3Error


class Level(Enum):
    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


OPERATIONS: Mapping[tuple[str, Level, str], str] = {
    ("GET", Level.SERVICE, ""): "ListBuckets",
    ("PUT", Level.BUCKET, ""): "CreateBucket",
    ("HEAD", Level.BUCKET, ""): "HeadBucket",
    ("DELETE", Level.BUCKET, ""): "DeleteBucket",
    ("GET", Level.BUCKET, ""): "ListObjects",
    ("GET", Level.BUCKET, "list-type"): "ListObjectsV2",
    ("GET", Level.BUCKET, "location"): "GetBucketLocation",
    ("GET", Level.BUCKET, "versioning"): "GetBucketVersioning",
    ("GET", Level.BUCKET, "uploads"): "ListMultipartUploads",
    ("POST", Level.BUCKET, "delete"): "DeleteObjects",
    ("GET", Level.OBJECT, ""): "GetObject",
    ("HEAD", Level.OBJECT, ""): "HeadObject",
    ("PUT", Level.OBJECT, ""): "PutObject",
    ("PUT", Level.OBJECT, "x-amz-copy-source"): "CopyObject",
    ("DELETE", Level.OBJECT, ""): "DeleteObject",
    ("POST", Level.OBJECT, "uploads"): "CreateMultipartUpload",
    ("PUT", Level.OBJECT, "uploadId"): "UploadPart",
    ("PUT", Level.OBJECT, "uploadId+x-amz-copy-source"): "UploadPartCopy",
    ("POST", Level.OBJECT, "uploadId"): "CompleteMultipartUpload",
    ("DELETE", Level.OBJECT, "uploadId"): "AbortMultipartUpload",
    ("GET", Level.OBJECT, "uploadId"): "ListParts",
    ("GET", Level.OBJECT, "attributes"): "GetObjectAttributes",
}
"""The operations that are built."""

PERMISSIONS: Mapping[str, Permission] = {
    "ListBuckets": Permission.LIST_BUCKETS,
    "CreateBucket": Permission.CREATE_BUCKET,
    "HeadBucket": Permission.HEAD_BUCKET,
    "DeleteBucket": Permission.DESTROY_BUCKET,
    "ListObjects": Permission.LIST_OBJECTS,
    "ListObjectsV2": Permission.LIST_OBJECTS,
    "GetBucketLocation": Permission.HEAD_BUCKET,
    "GetBucketVersioning": Permission.HEAD_BUCKET,
    "ListMultipartUploads": Permission.LIST_OBJECTS,
    "DeleteObjects": Permission.DELETE_OBJECT,
    "GetObject": Permission.GET,
    "HeadObject": Permission.HEAD_OBJECT,
    "PutObject": Permission.PUT,
    "CopyObject": Permission.PUT,
    "DeleteObject": Permission.DELETE_OBJECT,
    "CreateMultipartUpload": Permission.PUT,
    "UploadPart": Permission.PUT,
    "UploadPartCopy": Permission.PUT,
    "CompleteMultipartUpload": Permission.PUT,
    "AbortMultipartUpload": Permission.PUT,
    "ListParts": Permission.GET,
    "GetObjectAttributes": Permission.HEAD_OBJECT,
}
"""What each demands of the bucket that the request's path names. Copies also demand GET of their source."""

BUCKET_SUBRESOURCES = {
    "accelerate": "BucketAccelerateConfiguration",
    "acl": "BucketAcl",
    "analytics": "BucketAnalyticsConfiguration",
    "cors": "BucketCors",
    "encryption": "BucketEncryption",
    "intelligent-tiering": "BucketIntelligentTieringConfiguration",
    "inventory": "BucketInventoryConfiguration",
    "lifecycle": "BucketLifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "metadataConfiguration": "BucketMetadataConfiguration",
    "metadataTable": "BucketMetadataTableConfiguration",
    "metrics": "BucketMetricsConfiguration",
    "notification": "BucketNotificationConfiguration",
    "object-lock": "ObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "publicAccessBlock": "PublicAccessBlock",
    "replication": "BucketReplication",
    "requestPayment": "BucketRequestPayment",
    "session": "Session",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "versions": "ObjectVersions",
    "website": "BucketWebsite",
}
OBJECT_SUBRESOURCES = {
    "acl": "ObjectAcl",
    "attributes": "ObjectAttributes",
    "legal-hold": "ObjectLegalHold",
    "renameObject": "RenameObject",
    "restore": "RestoreObject",
    "retention": "ObjectRetention",
    "select": "SelectObjectContent",
    "tagging": "ObjectTagging",
    "torrent": "ObjectTorrent",
    "versionId": "ObjectVersion",
}
SUBRESOURCES = {Level.SERVICE: {}, Level.BUCKET: BUCKET_SUBRESOURCES, Level.OBJECT: OBJECT_SUBRESOURCES}
VERBS = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Post", "DELETE": "Delete"}

PARAMETERS = frozenset(
    {
        "list-type", "prefix", "delimiter", "marker", "max-keys", "encoding-type", "continuation-token", "start-after",
        "fetch-owner", "uploads", "delete", "key-marker", "upload-id-marker", "max-uploads", "uploadId", "partNumber",
        "max-parts", "part-number-marker", "x-id", "response-content-type", "response-content-language",
        "response-expires", "response-cache-control", "response-content-disposition", "response-content-encoding",
        "max-buckets", "bucket-region", "allow-unordered",
    }
)  # fmt: skip
"""Query fields that are understood, or (`x-id`) rightly overlooked; beside those of the signature, `X-Amz-*`."""

REFUSED_HEADERS = {
    "x-amz-server-side-encryption": "server-side encryption",
    "x-amz-server-side-encryption-customer-algorithm": "server-side encryption with customer keys",
    "x-amz-copy-source-server-side-encryption-customer-algorithm": "server-side encryption with customer keys",
    "x-amz-tagging": "object tagging",
    "x-amz-object-lock-mode": "object lock",
    "x-amz-object-lock-retain-until-date": "object lock",
    "x-amz-object-lock-legal-hold": "object lock",
    "x-amz-bucket-object-lock-enabled": "object lock",
    "x-amz-website-redirect-location": "website redirects",
    "x-amz-write-offset-bytes": "appending",
    "x-amz-rename-source": "RenameObject",
    "x-amz-mfa": "MFA delete",
    "x-amz-grant-full-control": "access control lists",
    "x-amz-grant-read": "access control lists",
    "x-amz-grant-read-acp": "access control lists",
    "x-amz-grant-write": "access control lists",
    "x-amz-grant-write-acp": "access control lists",
}
"""Overlooking one of these would break a promise that the client relies on."""

HARMLESS_ACLS = frozenset({"", "private", "bucket-owner-full-control", "bucket-owner-read"})


def operation_of(
    method: str, bucket: str, key: str, *, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """The name of the operation. Raises S3Error NotImplemented for those that are not built."""
    level = Level.OBJECT if key else Level.BUCKET if bucket else Level.SERVICE
    refuse_unbuilt(method, level, query, headers)
    operation = OPERATIONS.get((method, level, selector(level, method, query, headers)))
    if operation is None:
        raise not_implemented(f"{method} of this {level.value} with these parameters")
    return operation


def selector(level: Level, method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """What tells operations of one method and level apart."""
    if level is Level.OBJECT:
        copying = method == "PUT" and "x-amz-copy-source" in headers
        names = [name for name in ("uploads", "uploadId", "attributes") if name in query]
        return "+".join([*names, "x-amz-copy-source"] if copying else names)
    if "list-type" in query:
        return "list-type" if query["list-type"] == "2" else "list-type?"
    return next((name for name in ("uploads", "delete", "location", "versioning") if name in query), "")


def refuse_unbuilt(method: str, level: Level, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
    for name, value in query.items():
        subresource = SUBRESOURCES[level].get(name)
        built = (method, level, name) in OPERATIONS or name in PARAMETERS or name.startswith("X-Amz-")
        current = name == "versionId" and value == "null" and method in ("GET", "HEAD", "DELETE")
        if name == "versionId" and not value:
            raise S3Error("InvalidArgument", "Version id cannot be the empty string")
        if subresource is not None and not built and not current:
            raise not_implemented(VERBS.get(method, "") + subresource)
        if subresource is None and not built and (not value or method not in ("GET", "HEAD")):
            raise not_implemented(f"{method} with the parameter {name[:40]!r}")
    for name, what in REFUSED_HEADERS.items():
        if headers.get(name, "false") not in ("", "false"):
            raise not_implemented(f"{what} (header {name})")
    if headers.get("x-amz-acl", "") not in HARMLESS_ACLS:
        raise not_implemented("access control lists (header x-amz-acl)")
    if "partNumber" in query and "uploadId" not in query and method not in ("GET", "HEAD"):
        raise not_implemented(f"{method} of one part of an object")


def not_implemented(what: str) -> S3Error:
    return S3Error("NotImplemented", f"{what} is not implemented in this version of Shoal.")
