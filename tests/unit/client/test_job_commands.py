"""`shoal scrub`, `shoal bucket rechunk` and `shoal job`, run as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shoal_cli.app import build_app
from support.node import Nodes

pytestmark = pytest.mark.slow


class Shoal:
    def __init__(self, nodes: Nodes) -> None:
        address = nodes.processes["p1"].ready["public_address"]
        self._environment = {"SHOAL_GRPC": address, "SHOAL_CA": str(nodes.ca)}

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(build_app(), arguments, env=self._environment)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path) as nodes:
        nodes.etcd.start()
        nodes.target("t1").start()
        nodes.proxy("p1").start()
        yield nodes


@pytest.fixture
def shoal(nodes: Nodes, tmp_path: Path) -> Shoal:
    shoal = Shoal(nodes)
    assert shoal.run("bucket", "create", "b").exit_code == 0
    (tmp_path / "file").write_bytes(bytes(100_000))
    assert shoal.run("put", str(tmp_path / "file"), "ais://b/a").exit_code == 0
    return shoal


def test_scrubs_and_jobs(nodes: Nodes, shoal: Shoal) -> None:
    clean = shoal.run("scrub", "--wait", "-o", "json")
    job = json.loads(clean.stdout)
    assert (clean.exit_code, job["state"], job["bucket"]) == (0, "finished", None)
    assert job["targets"]["t1"] | {"error": ""} == {
        "state": "finished",
        "objects": 1,
        "bytes": 100_000,
        "seen": 0,
        "total": 0,
        "error": "",
    }
    (chunk,) = nodes.chunk_files()
    chunk.write_bytes(b"x" + chunk.read_bytes()[1:])
    damaged = shoal.run("scrub", "--wait")
    assert damaged.exit_code == 1
    assert "1 damaged: damaged-chunk mp" in damaged.stdout
    assert shoal.run("bucket", "rm", "-y", "b").exit_code == 0
    listed = [line.split()[2] for line in shoal.run("job", "ls").stdout.splitlines()]
    assert listed == ["purge-bucket", "scrub", "scrub"]
    assert len(shoal.run("job", "ls", "--kind", "scrub").stdout.splitlines()) == 2
    shown = shoal.run("job", "show", job["id"])
    assert "1 objects, 97.7 KiB" in shown.stdout
    missing = shoal.run("job", "show", "none")
    assert (missing.exit_code, "none" in missing.stderr) == (1, True)


def test_rechunks(shoal: Shoal) -> None:
    """Into the form that the bucket asks for by now, or into another."""
    assert shoal.run("bucket", "set", "b", "--chunk-above", "5", "--chunk-size", "1MiB").exit_code == 0
    for options in ([], ["--chunk-above", "0"]):
        ended = shoal.run("bucket", "rechunk", "ais://b", *options, "--wait", "-o", "json")
        job = json.loads(ended.stdout)
        assert (ended.exit_code, job["kind"], job["bucket"], job["state"]) == (
            0,
            "rechunk",
            "ais://b",
            "finished",
        )
        assert (job["targets"]["t1"]["objects"], job["targets"]["t1"]["bytes"]) == (1, 100_000)
    assert len(shoal.run("job", "ls", "--kind", "rechunk").stdout.splitlines()) == 2
    refused = shoal.run("bucket", "rechunk", "b", "--chunk-size", "1")
    assert (refused.exit_code, "chunk_bytes is 1" in refused.stderr) == (1, True)
