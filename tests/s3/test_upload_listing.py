"""ListMultipartUploads with prefix, delimiter and pages of every size, against what is really under way."""

from __future__ import annotations

from typing import Any

import pytest

KEYS = ["a", "b/1", "b/2", "b/2", "b/c/3", "c", "d/", "d/4", "e\u00e9/5", "f"]


@pytest.fixture
def begun(s3: Any, bucket: str) -> list[tuple[str, str]]:
    """Key and id of each upload, in the order of a listing."""
    return sorted((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in KEYS)


def pages(s3: Any, bucket: str, **query: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """What all pages show, as boto3's paginator walks them."""
    uploads, prefixes = [], []
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, **query):
        shown = [(each["Key"], each["UploadId"]) for each in page.get("Uploads", [])]
        folded = [each["Prefix"] for each in page.get("CommonPrefixes", [])]
        assert 0 < len(shown) + len(folded) <= page["MaxUploads"]
        uploads += shown
        prefixes += folded
    return uploads, prefixes


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("prefix", "prefixes"),
    [("", ["b/", "d/", "e\u00e9/"]), ("b/", ["b/c/"]), ("e", ["e\u00e9/"]), ("b/2", [])],
)
def test_pages_show_every_upload_or_its_prefix_once(
    s3: Any, bucket: str, begun: list[tuple[str, str]], size: int, prefix: str, prefixes: list[str]
) -> None:
    plain = [each for each in begun if each[0].startswith(prefix) and "/" not in each[0].removeprefix(prefix)]
    found = pages(s3, bucket, Prefix=prefix, Delimiter="/", PaginationConfig={"PageSize": size})
    assert found == (plain, prefixes)
    everything = [each for each in begun if each[0].startswith(prefix)]
    assert pages(s3, bucket, Prefix=prefix, PaginationConfig={"PageSize": size}) == (everything, [])
