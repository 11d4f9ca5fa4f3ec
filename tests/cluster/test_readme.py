"""The README's tour, as it stands there: every block runs, in its order, against a fresh cluster."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster import Cluster

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"^```(bash|python)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
)
EXPECTED = (
    "",
    "# Shoal",
    "photos/shard.tar/texts/readme.md",
    "b'hello world'",
    "from curl\ncurl",
    "# ",
    "decisions/0001",
    "s3://photos/README.md",
    "b'hello from boto3'",
    "hello from boto3",
    "from curl",
    "b'any bytes'",
)
"""What each block must print."""


@pytest.mark.slow
def test_every_block_of_the_tour_runs(cluster: Cluster, tmp_path: Path) -> None:
    assert len(BLOCKS) == len(EXPECTED)
    shutil.copy(ROOT / "README.md", tmp_path)
    for name in ("docs", "protos"):
        shutil.copytree(ROOT / name, tmp_path / name)
    try:
        for (language, block), expected in zip(BLOCKS[1:], EXPECTED[1:], strict=True):
            assert expected in run(language, block, tmp_path, cluster), block
    finally:
        run("bash", "shoal bucket rm --yes ais://photos", tmp_path, cluster)


def run(language: str, block: str, folder: Path, cluster: Cluster) -> str:
    """A block's output. The first block, which finds the cluster, is what a user's shell has done before."""
    folder_of_python = Path(sys.executable).parent
    environment = cluster.environment() | {"PATH": f"{folder_of_python}:{os.environ['PATH']}"}
    shell = ["bash", "-euo", "pipefail", "-c", block]
    command = shell if language == "bash" else [sys.executable, "-W", "error::SyntaxWarning", "-c", block]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"
    return result.stdout
