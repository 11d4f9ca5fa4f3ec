"""The documents that S3's operations answer have the root and the elements that the API reference names."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import requests

from shoal_gateway.s3.documented import S3_DOCUMENTATION

UPLOAD = b"x" * (5 << 20)


def asked(s3: Any, operation: str, **parameters: Any) -> tuple[str, set[str], dict[str, int]]:
    """Root of the answer, its children, and how often each is there."""
    url = s3.generate_presigned_url(operation, Params=parameters)
    method = {"create_multipart_upload": "POST"}.get(operation, "GET")
    answer = requests.request(method, url, timeout=20)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/xml")
    root = ElementTree.fromstring(answer.content)
    names = [plain(child.tag) for child in root]
    return plain(root.tag), set(names), {name: names.count(name) for name in names}


def plain(tag: str) -> str:
    return tag.rpartition("}")[2]


@pytest.mark.parametrize(
    ("name", "operation", "parameters"),
    [
        ("ListBuckets", "list_buckets", {}),
        ("ListObjects", "list_objects", {"Bucket": "", "Delimiter": "/", "MaxKeys": 3}),
        (
            "ListObjectsV2",
            "list_objects_v2",
            {"Bucket": "", "StartAfter": "a", "MaxKeys": 1, "EncodingType": "url"},
        ),
        ("ListObjectsV2", "list_objects_v2", {"Bucket": "", "Delimiter": "/", "FetchOwner": True}),
        ("GetBucketLocation", "get_bucket_location", {"Bucket": ""}),
        ("GetBucketVersioning", "get_bucket_versioning", {"Bucket": ""}),
        ("ListMultipartUploads", "list_multipart_uploads", {"Bucket": ""}),
        ("CreateMultipartUpload", "create_multipart_upload", {"Bucket": "", "Key": "n"}),
        ("ListParts", "list_parts", {"Bucket": "", "Key": "parts", "UploadId": ""}),
    ],
)
def test_the_answer_is_the_document_that_is_named(
    s3: Any, bucket: str, name: str, operation: str, parameters: dict[str, Any]
) -> None:
    for key in ("a", "b", "d/1", "e/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    for number in (1, 2):
        s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=UPLOAD)
    filled = {"Bucket": bucket, "UploadId": upload}
    root, elements, counts = asked(
        s3, operation, **{each: filled.get(each, value) for each, value in parameters.items()}
    )
    documented = S3_DOCUMENTATION[name].answer
    assert documented is not None
    assert root == documented.root
    assert elements <= {each.rstrip("*") for each in documented.elements}
    assert all(f"{each}*" in documented.elements for each, count in counts.items() if count > 1)
    s3.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload)
