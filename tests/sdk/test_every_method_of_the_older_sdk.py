"""The official SDK as it was before 2.0, with a HEAD of another kind: the tests of every method, run with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.older_sdk import VERSION
from support.sdk_versions import IS_OLDER

FOLDER = Path(__file__).parent
MODULES = (
    "test_batch",
    "test_buckets",
    "test_cluster",
    "test_every_method",
    "test_jobs",
    "test_multipart",
    "test_object_changes",
    "test_object_groups",
    "test_objects",
    "test_promote",
    "test_summaries",
)
"""Those that `test_every_method` names."""
XXHASH = "xxhash==3.5.0"
ONE_CLUSTER = "not one-target and not two-hosts and not no-local-reads"
"""Of three targets. Clusters differ behind the gateway, where nobody knows which SDK has asked."""


@pytest.fixture(scope="module")
def older_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has it, and what it needs in another version than the newer one has brought."""
    folder = tmp_path_factory.mktemp("older-sdk")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, f"aistore=={VERSION}", XXHASH], check=True, capture_output=True, timeout=240)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(IS_OLDER, reason="this is the run with the older SDK")
def test_every_method_works(older_sdk: Path, tmp_path: Path) -> None:
    modules = [str(FOLDER / f"{module}.py") for module in MODULES]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-k",
        ONE_CLUSTER,
        f"--basetemp={tmp_path}/run",
        *modules,
    ]
    environment = os.environ | {"PYTHONPATH": str(older_sdk)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=840, check=False)
    assert done.returncode == 0, done.stdout[-20_000:]
    print(done.stdout.splitlines()[-1])
