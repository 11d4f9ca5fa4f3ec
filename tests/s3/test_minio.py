"""minio-py, unchanged: 100 files and an upload in parts."""

from __future__ import annotations

import filecmp
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource
from minio.deleteobjects import DeleteObject

from support.cluster import Cluster


@pytest.fixture
def minio(cluster: Cluster) -> Minio:
    variables = cluster.environment()
    return Minio(
        urlsplit(variables["AWS_ENDPOINT_URL"]).netloc,
        access_key=variables["AWS_ACCESS_KEY_ID"],
        secret_key=variables["AWS_SECRET_ACCESS_KEY"],
        region=variables["AWS_REGION"],
        secure=False,
    )


def test_a_hundred_files(minio: Minio, bucket: str, hundred_files: Path, tmp_path: Path) -> None:
    files = {
        str(path.relative_to(hundred_files)): path for path in hundred_files.rglob("*") if path.is_file()
    }
    for name, path in files.items():
        minio.fput_object(bucket, name, str(path))
    listed = {entry.object_name: entry.size for entry in minio.list_objects(bucket, recursive=True)}
    assert listed == {name: path.stat().st_size for name, path in files.items()}
    for name, path in files.items():
        minio.fget_object(bucket, name, str(tmp_path / "back"))
        assert filecmp.cmp(path, tmp_path / "back", shallow=False)
    errors = minio.remove_objects(bucket, [DeleteObject(name) for name in files])
    assert list(errors) == []
    assert list(minio.list_objects(bucket)) == []


def test_an_upload_in_parts_and_what_is_composed_of_it(
    minio: Minio, bucket: str, large_file: Path, tmp_path: Path
) -> None:
    written = minio.fput_object(bucket, "large", str(large_file), part_size=5 << 20)
    assert str(written.etag).endswith("-7")
    minio.copy_object(bucket, "copied", CopySource(bucket, "large"))
    minio.fget_object(bucket, "copied", str(tmp_path / "back"))
    assert filecmp.cmp(large_file, tmp_path / "back", shallow=False)
    first = ComposeSource(bucket, "large", offset=0, length=6 << 20)
    minio.compose_object(bucket, "composed", [first, ComposeSource(bucket, "large", offset=0, length=10)])
    answer = minio.get_object(bucket, "composed")
    with large_file.open("rb") as file:
        begin = file.read(6 << 20)
    assert answer.read() == begin + begin[:10]
    answer.close()
