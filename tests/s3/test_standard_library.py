"""Real input through boto3 and its own threads and parts: the whole standard library and a file of 300 MiB."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from support.cluster import Cluster
from support.s3_clients import empty, s3_client

BUCKET = "standard-library"
LARGE = "large/300MiB"
THREADS = 8


@pytest.fixture(scope="module")
def filled(cluster3: Cluster, library: dict[str, Path], file_of_300_mib: Path) -> Iterator[Any]:
    """A client of a cluster of three targets that holds everything."""
    s3 = s3_client(cluster3, config=Config(max_pool_connections=THREADS))
    s3.create_bucket(Bucket=BUCKET)
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda name: s3.upload_file(str(library[name]), BUCKET, name), library))
    s3.upload_file(str(file_of_300_mib), BUCKET, LARGE)
    yield s3
    empty(s3, BUCKET)
    s3.delete_bucket(Bucket=BUCKET)
    s3.close()


@pytest.mark.slow
def test_every_file_is_listed_with_its_size(
    filled: Any, library: dict[str, Path], file_of_300_mib: Path
) -> None:
    pages = filled.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, PaginationConfig={"PageSize": 700}
    )
    listed = {entry["Key"]: entry["Size"] for page in pages for entry in page["Contents"]}
    expected = library | {LARGE: file_of_300_mib}
    assert listed == {name: path.stat().st_size for name, path in expected.items()}


@pytest.mark.slow
def test_every_file_comes_back_byte_for_byte(filled: Any, library: dict[str, Path]) -> None:
    def is_same(name: str) -> bool:
        return bool(filled.get_object(Bucket=BUCKET, Key=name)["Body"].read() == library[name].read_bytes())

    with ThreadPoolExecutor(THREADS) as threads:
        assert all(threads.map(is_same, library))


@pytest.mark.slow
def test_the_large_file_comes_back_byte_for_byte(filled: Any, file_of_300_mib: Path, tmp_path: Path) -> None:
    assert filled.head_object(Bucket=BUCKET, Key=LARGE)["ETag"].endswith('-38"')
    filled.download_file(BUCKET, LARGE, str(tmp_path / "back"))
    assert filecmp.cmp(file_of_300_mib, tmp_path / "back", shallow=False)
