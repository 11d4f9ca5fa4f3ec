"""Real input: the whole standard library and a file of 300 MiB, in by the SDK, out by gRPC and the CLI."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aistore import Client

from shoal_client.client import ShoalClient
from support.cluster import Cluster
from support.real_input import LARGE_BYTES

LARGE_NAME = "large/300MiB"


@pytest.fixture(
    scope="module",
    params=[(1, True), (3, True), (1, False), (3, False)],
    ids=lambda p: f"{p[0]}-{'local' if p[1] else 'grpc'}",
)
def filled(
    request: pytest.FixtureRequest,
    module_cluster: Callable[..., Cluster],
    library: dict[str, Path],
    file_of_300_mib: Path,
) -> Iterator[Cluster]:
    """A cluster with everything written through the official SDK."""
    targets, local_reads = request.param
    cluster = module_cluster(targets=targets, local_reads=local_reads)
    bucket = Client(cluster.endpoint).bucket("stdlib").create()
    for name, path in library.items():
        bucket.object(name).get_writer().put_file(path)
    bucket.object(LARGE_NAME).get_writer().put_file(file_of_300_mib)
    yield cluster
    cluster.stop()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def get_by_command_line(cluster: Cluster, destination: Path) -> None:
    command = [sys.executable, "-m", "shoal_cli", "get", "--recursive", "ais://stdlib/", str(destination)]
    subprocess.run(command, check=True, env=cluster.environment(), timeout=300)


@pytest.mark.slow
def test_every_file_is_listed_with_its_size(filled: Cluster, library: dict[str, Path]) -> None:
    entries = Client(filled.endpoint).bucket("stdlib").list_all_objects(page_size=700)
    sizes = {name: path.stat().st_size for name, path in library.items()}
    assert {entry.name: entry.size for entry in entries} == sizes | {LARGE_NAME: LARGE_BYTES}


@pytest.mark.slow
async def test_every_file_comes_back_through_grpc(
    filled: Cluster, library: dict[str, Path], file_of_300_mib: Path
) -> None:
    async with ShoalClient.connect(filled.grpc_address, ca=filled.ca) as client:
        bucket = client.bucket("stdlib")
        for name, path in library.items():
            assert await bucket.get(name) == path.read_bytes(), name
        digest = hashlib.sha256()
        async with await bucket.open(LARGE_NAME) as body:
            async for piece in body.chunks():
                digest.update(piece)
    assert digest.hexdigest() == sha256(file_of_300_mib)


@pytest.mark.slow
def test_every_file_comes_back_through_the_command_line(
    filled: Cluster, library: dict[str, Path], file_of_300_mib: Path, tmp_path: Path
) -> None:
    get_by_command_line(filled, tmp_path)
    for name, path in library.items():
        assert (tmp_path / name).read_bytes() == path.read_bytes(), name
    assert sha256(tmp_path / LARGE_NAME) == sha256(file_of_300_mib)
