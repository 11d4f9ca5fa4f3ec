"""aws CLI, rclone, s3cmd, unchanged: 100 files and an upload in parts, up, listed, down, copied, removed."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster

COMMANDS = Path(sys.executable).parent


@dataclass
class Shell:
    """Runs what a user would type after `eval "$(shoal env)"`."""

    cluster: Cluster
    home: Path

    def __call__(self, *command: str) -> str:
        environment = self.cluster.environment() | {
            "HOME": str(self.home),
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        }
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def s3cmd(self, *command: str) -> str:
        variables = self.cluster.environment()
        host = variables["AWS_ENDPOINT_URL"].removeprefix("http://")
        return self(
            "s3cmd", "--config", "/dev/null", "--no-ssl", "--host", host, "--host-bucket=",
            "--region", variables["AWS_REGION"], "--no-progress", *command,
        )  # fmt: skip

    def rclone(self, *command: str) -> str:
        variables = self.cluster.environment()
        return self(
            "rclone", "--config", "", "--s3-provider", "Other", "--s3-env-auth",
            "--s3-endpoint", variables["AWS_ENDPOINT_URL"], "--s3-region", variables["AWS_REGION"], *command,
        )  # fmt: skip


@pytest.fixture
def shell(cluster: Cluster, tmp_path: Path) -> Shell:
    return Shell(cluster, tmp_path)


def assert_same_trees(one: Path, other: Path) -> None:
    names = [str(path.relative_to(one)) for path in one.rglob("*") if path.is_file()]
    assert names
    assert sorted(names) == sorted(
        str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()
    )
    _, different, unreadable = filecmp.cmpfiles(one, other, names, shallow=False)
    assert (different, unreadable) == ([], [])


def etag(s3: Any, bucket: str, key: str) -> str:
    return str(s3.head_object(Bucket=bucket, Key=key)["ETag"])


def test_aws_cli_with_etags_that_are_no_md5s(shell: Shell, fast_bucket: str, large_file: Path) -> None:
    place, back = f"s3://{fast_bucket}", shell.home / "back"
    (small := shell.home / "small").write_bytes(b"small")
    for source in (small, large_file):
        shell("aws", "s3", "cp", str(source), f"{place}/a", "--only-show-errors")
        shell("aws", "s3", "cp", f"{place}/a", f"{place}/b", "--only-show-errors")
        shell("aws", "s3", "cp", f"{place}/b", str(back), "--only-show-errors")
        assert filecmp.cmp(source, back, shallow=False)


def test_aws_cli(shell: Shell, s3: Any, bucket: str, hundred_files: Path, large_file: Path) -> None:
    back = shell.home / "back"
    shell("aws", "s3", "sync", str(hundred_files), f"s3://{bucket}/tree", "--only-show-errors")
    assert shell("aws", "s3", "sync", str(hundred_files), f"s3://{bucket}/tree") == ""
    assert len(shell("aws", "s3", "ls", "--recursive", f"s3://{bucket}/tree/").splitlines()) == 100
    shell("aws", "s3", "cp", "--recursive", f"s3://{bucket}/tree/", str(back), "--only-show-errors")
    assert_same_trees(hundred_files, back)

    shell("aws", "s3", "cp", str(large_file), f"s3://{bucket}/large", "--only-show-errors")
    assert etag(s3, bucket, "large").endswith('-4"')
    shell("aws", "s3", "mv", f"s3://{bucket}/large", f"s3://{bucket}/moved", "--only-show-errors")
    shell("aws", "s3", "cp", f"s3://{bucket}/moved", str(shell.home / "large"), "--only-show-errors")
    assert filecmp.cmp(large_file, shell.home / "large", shallow=False)
    shell("aws", "s3", "rm", "--recursive", f"s3://{bucket}", "--only-show-errors")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_rclone(shell: Shell, s3: Any, bucket: str, hundred_files: Path, large_file: Path) -> None:
    shell.rclone("sync", str(hundred_files), f":s3:{bucket}/tree")
    shell.rclone("check", "--download", str(hundred_files), f":s3:{bucket}/tree")
    shell.rclone("check", str(hundred_files), f":s3:{bucket}/tree")
    shell.rclone("sync", f":s3:{bucket}/tree", str(shell.home / "back"))
    assert_same_trees(hundred_files, shell.home / "back")

    cut = ("--s3-upload-cutoff", "8Mi", "--s3-chunk-size", "5Mi")
    shell.rclone("copyto", *cut, str(large_file), f":s3:{bucket}/large")
    assert etag(s3, bucket, "large").endswith('-7"')
    shell.rclone("copyto", "--s3-copy-cutoff", "8Mi", *cut, f":s3:{bucket}/large", f":s3:{bucket}/copied")
    shell.rclone("copyto", f":s3:{bucket}/copied", str(shell.home / "large"))
    assert filecmp.cmp(large_file, shell.home / "large", shallow=False)
    shell.rclone("purge", f":s3:{bucket}/tree")
    assert sorted(shell.rclone("lsf", f":s3:{bucket}").split()) == ["copied", "large"]


def test_s3cmd(shell: Shell, s3: Any, bucket: str, hundred_files: Path, large_file: Path) -> None:
    shell.s3cmd("sync", f"{hundred_files}/", f"s3://{bucket}/tree/")
    assert len(shell.s3cmd("ls", "--recursive", f"s3://{bucket}/tree/").splitlines()) == 100
    back = shell.home / "back"
    back.mkdir()
    shell.s3cmd("sync", f"s3://{bucket}/tree/", f"{back}/")
    assert_same_trees(hundred_files, back)

    shell.s3cmd("--multipart-chunk-size-mb", "5", "put", str(large_file), f"s3://{bucket}/large")
    assert etag(s3, bucket, "large").endswith('-7"')
    shell.s3cmd("cp", f"s3://{bucket}/large", f"s3://{bucket}/copied")
    shell.s3cmd("get", f"s3://{bucket}/copied", str(shell.home / "large"))
    assert filecmp.cmp(large_file, shell.home / "large", shallow=False)
    shell.s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    assert shell.s3cmd("ls", f"s3://{bucket}") == ""
