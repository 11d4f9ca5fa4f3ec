"""The official SDK as it was before 2.0: another `head`, and no retries of its own for batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.older_sdk import VERSION

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def older_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has it, without what it needs, which the newer one has brought."""
    folder = tmp_path_factory.mktemp("older-sdk")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, f"aistore=={VERSION}"], check=True, capture_output=True, timeout=240)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["cluster", "cluster3", "distant_cluster"])
def test_a_program_for_the_older_sdk_runs(
    request: pytest.FixtureRequest, older_sdk: Path, targets: str
) -> None:
    cluster: Cluster = request.getfixturevalue(targets)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(older_sdk), str(TESTS)])}
    command = [sys.executable, str(TESTS / "support" / "older_sdk.py"), cluster.endpoint]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
