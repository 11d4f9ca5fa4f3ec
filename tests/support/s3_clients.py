"""boto3 as a user has it after `eval "$(shoal env)"`."""

from __future__ import annotations

from typing import Any

import boto3

from support.cluster import Cluster


def s3_client(cluster: Cluster, *, path: str = "", **options: Any) -> Any:
    """What `boto3.client("s3")` gives after `eval "$(shoal env)"`."""
    variables = cluster.environment()
    return boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"] + path,
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        **options,
    )


def empty(s3: Any, bucket: str) -> None:
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        if named := [{"Key": entry["Key"]} for entry in page.get("Contents", [])]:
            assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": named})
