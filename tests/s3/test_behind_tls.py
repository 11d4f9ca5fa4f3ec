"""Clients over TLS: there boto3 and its kin send chunks without signatures and the checksum as a trailer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from support.cluster import Cluster
from support.tls_front import tls_front

ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
CONTENT = bytes(range(256)) * 800


@pytest.fixture(scope="module")
def front(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with tls_front(cluster.endpoint, tmp_path_factory.mktemp("front")) as address:
        yield address


@pytest.fixture
def secure(cluster: Cluster, front: tuple[str, Path]) -> Iterator[Any]:
    variables = cluster.environment()
    client = boto3.client(
        "s3",
        endpoint_url=front[0],
        verify=str(front[1]),
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    # The gateway answers to its own name only; a front in production has that name, this one has another port.
    host = urlsplit(cluster.endpoint).netloc
    client.meta.events.register(
        "before-sign.s3", lambda request, **_: request.headers.add_header("Host", host)
    )
    yield client
    client.close()


@pytest.fixture
def sent(secure: Any) -> list[Any]:
    """The requests of `secure`, as they go out."""
    requests: list[Any] = []
    secure.meta.events.register("before-send.s3", lambda request, **_: requests.append(request))
    return requests


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["nothing", "a byte", "200 KB"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_that_comes_as_a_trailer(
    secure: Any, sent: list[Any], bucket: str, algorithm: str, content: bytes
) -> None:
    put = secure.put_object(Bucket=bucket, Key="a", Body=content, ChecksumAlgorithm=algorithm)
    assert sent[0].headers["x-amz-content-sha256"] == b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    answer = secure.get_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert answer[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    assert (answer["Body"].read(), answer["ContentLength"]) == (content, len(content))


def test_how_a_body_travelled_is_not_kept_with_the_object(secure: Any, sent: list[Any], bucket: str) -> None:
    secure.put_object(Bucket=bucket, Key="zipped", Body=CONTENT, ContentEncoding="gzip")
    secure.put_object(Bucket=bucket, Key="plain", Body=CONTENT)
    assert "aws-chunked" in str(sent[0].headers["content-encoding"])
    assert secure.head_object(Bucket=bucket, Key="zipped")["ContentEncoding"] == "gzip"
    assert "ContentEncoding" not in secure.head_object(Bucket=bucket, Key="plain")


def test_a_trailer_that_does_not_fit_leaves_the_old_object(secure: Any, bucket: str) -> None:
    secure.put_object(Bucket=bucket, Key="a", Body=b"old")
    # botocore sends a checksum that the user gives ahead, in a header.
    with pytest.raises(ClientError, match="BadDigest"):
        secure.put_object(Bucket=bucket, Key="a", Body=b"new", ChecksumCRC32="AAAAAA==")
    assert secure.get_object(Bucket=bucket, Key="a")["Body"].read() == b"old"


def test_a_large_file_goes_in_parts_with_trailers(
    secure: Any, sent: list[Any], bucket: str, large_file: Path, tmp_path: Path
) -> None:
    secure.upload_file(str(large_file), bucket, "large")
    assert sum(request.headers.get("x-amz-trailer") == b"x-amz-checksum-crc32" for request in sent) == 4
    secure.download_file(bucket, "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large_file.read_bytes()
