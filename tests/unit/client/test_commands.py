"""The data commands of `shoal`, run as a user runs them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shoal_cli.app import build_app
from support.node import Nodes


class Shoal:
    """Runs commands in this process, with a bucket of their own."""

    def __init__(self, nodes: Nodes, address: str) -> None:
        self.environment = {"SHOAL_GRPC": address, "SHOAL_CA": str(nodes.ca)}
        # At random, because this module is imported under two names, and would count twice.
        self.bucket = f"ais://commands-{secrets.token_hex(4)}"
        self.ok("bucket", "create", self.bucket)

    def run(self, *arguments: str, input: bytes | None = None) -> Result:
        result = CliRunner().invoke(build_app(), arguments, env=self.environment, input=input)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def ok(self, *arguments: str, input: bytes | None = None) -> str:
        result = self.run(*arguments, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def documents(self, *arguments: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.ok(*arguments, "-o", "json").splitlines()]


@pytest.fixture
def shoal(live_nodes: Nodes, proxy_address: str) -> Shoal:
    return Shoal(live_nodes, proxy_address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        path = tmp_path / "in" / f"sub{number % 3}" / f"f{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 40_000))
    return tmp_path / "in"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_goes_in_and_comes_back_byte_for_byte(shoal: Shoal, folder: Path, tmp_path: Path) -> None:
    shoal.ok("put", "-r", str(folder), f"{shoal.bucket}/x/")
    shoal.ok("get", "-r", f"{shoal.bucket}/x/", str(tmp_path / "out"))
    assert contents(tmp_path / "out") == contents(folder)


def test_list_folds_folders_unless_it_is_recursive(shoal: Shoal, folder: Path) -> None:
    shoal.ok("put", "-r", str(folder), shoal.bucket)
    assert shoal.ok("ls", shoal.bucket).split() == ["sub0/", "sub1/", "sub2/"]
    listed = {
        str(document["name"]): document["size"] for document in shoal.documents("ls", "-r", shoal.bucket)
    }
    assert listed == {name: len(data) for name, data in contents(folder).items()}
    assert shoal.bucket in shoal.ok("ls").split()
    assert "f0.txt" in shoal.ok("ls", "-l", f"{shoal.bucket}/sub0/")


def test_standard_input_is_put_and_parts_of_it_are_shown(shoal: Shoal) -> None:
    shoal.ok("put", "-", f"{shoal.bucket}/log", input=b"hello world")
    assert shoal.ok("cat", f"{shoal.bucket}/log") == "hello world"
    assert shoal.ok("cat", f"{shoal.bucket}/log", "--offset", "6", "--length", "3") == "wor"
    assert shoal.ok("cat", f"{shoal.bucket}/log", "--offset", "-5") == "world"


def test_head_tells_the_record(shoal: Shoal, folder: Path) -> None:
    shoal.ok("put", str(folder / "sub1" / "f1.txt"), f"{shoal.bucket}/one.txt")
    [document] = shoal.documents("head", f"{shoal.bucket}/one.txt")
    assert (document["name"], document["size"], document["content_type"]) == ("one.txt", 40_000, "text/plain")
    assert "size:" in shoal.ok("head", f"{shoal.bucket}/one.txt")


def test_names_that_lead_out_of_the_folder_are_refused_and_the_others_fetched(
    shoal: Shoal, tmp_path: Path
) -> None:
    for name in ("../../evil", "/absolute", "good"):
        shoal.ok("put", "-", f"{shoal.bucket}/{name}", input=b"x")
    result = shoal.run("get", "-r", f"{shoal.bucket}/", str(tmp_path / "a" / "b"))
    assert result.exit_code == 1
    assert result.stderr.count("no safe file name") == 2
    assert contents(tmp_path) == {"a/b/good": b"x"}
    shoal.ok("get", f"{shoal.bucket}/../../evil", str(tmp_path / "chosen"))


def test_removal_of_many_needs_consent(shoal: Shoal, folder: Path) -> None:
    shoal.ok("put", "-r", str(folder), shoal.bucket)
    assert "--yes" in shoal.run("rm", "-r", f"{shoal.bucket}/sub0/").stderr
    assert len(shoal.documents("ls", "-r", shoal.bucket)) == 12
    shoal.ok("rm", "-r", "--yes", f"{shoal.bucket}/sub0/")
    shoal.ok("rm", f"{shoal.bucket}/sub1/f1.txt", f"{shoal.bucket}/sub1/f4.txt")
    assert len(shoal.documents("ls", "-r", shoal.bucket)) == 6


def test_bucket_with_objects_is_removed_only_with_consent(shoal: Shoal) -> None:
    shoal.ok("put", "-", f"{shoal.bucket}/x", input=b"x")
    assert shoal.run("bucket", "rm", shoal.bucket).exit_code == 1
    [document] = shoal.documents("bucket", "rm", shoal.bucket, "--yes")
    assert document["job"]
    assert shoal.bucket not in shoal.ok("bucket", "ls").split()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (["cat", "{bucket}/none"], 1, "does not exist"),
        (["head", "ais://no-such-bucket/x"], 1, "no-such-bucket"),
        (["rm", "{bucket}/none"], 1, "does not exist"),
        (["get", "-r", "{bucket}/none", "/tmp"], 1, "no object"),
        (["bucket", "create", "{bucket}"], 1, "exists"),
        (["bucket", "create", "#bad"], 2, ""),
        (["put", "/nonexistent", "{bucket}"], 2, ""),
        (["ls", "--grpc", "127.0.0.1:1"], 1, "cannot reach proxy"),
        (["ls", "--ca", "/nonexistent"], 1, "/nonexistent"),
    ],
)
def test_failure_is_one_sentence_and_an_exit_code(
    shoal: Shoal, arguments: list[str], exit_code: int, sentence: str
) -> None:
    result = shoal.run(*(argument.format(bucket=shoal.bucket) for argument in arguments))
    assert result.exit_code == exit_code, result.stderr
    assert sentence in result.stderr
    if exit_code == 1:
        assert result.stderr.startswith("shoal: ")
        assert result.stderr.count("\n") == 1


def test_reader_that_leaves_early_is_no_traceback(shoal: Shoal) -> None:
    shoal.ok("put", "-", f"{shoal.bucket}/large", input=bytes(20 << 20))
    command = [sys.executable, "-m", "shoal_cli", "cat", f"{shoal.bucket}/large"]
    environment = os.environ | shoal.environment
    with subprocess.Popen(command, stdout=-1, stderr=-1, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 1
