"""F8: bits, lengths, whole files and pages change on the disk: it is found, and nothing wrong is ever served."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from shoal_core.errors import DataCorrupt
from shoal_core.objects import Bucket, BucketId, BucketProperties, BucketReference
from support.damage_points import Verdict
from support.damages import ALL, ALWAYS, EXACT, chunk_files
from support.engines import get, put, running_engine
from support.fault_counts import SECONDS_VARIABLE, FaultRun, box_seconds
from support.fault_runs import TESTS, memory_folder

pytestmark = [pytest.mark.slow, pytest.mark.fault(id="F8"), pytest.mark.timeout(900)]

DAMAGES = 520
SECONDS = 150.0
WINDOW = Bucket(BucketReference("window"), BucketId(b"window-1"), 1, 0, BucketProperties(verify="window"))
BODY = b"verified once a day" * 2_000


def test_damage_is_found_by_reads_fsck_and_scrub_and_no_wrong_byte_is_served(fault_run: FaultRun) -> None:
    seconds = box_seconds(SECONDS)
    wanted = 1_000_000 if SECONDS_VARIABLE in os.environ else DAMAGES
    with memory_folder() as folder:
        arguments = [str(folder / "stores"), str(fault_run.seed), str(wanted), f"{seconds}"]
        run = subprocess.run(
            [sys.executable, "-m", "support.damage_points", *arguments],
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            capture_output=True,
            timeout=seconds + 300,
            check=False,
        )
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-4000:]
    verdict = msgspec.json.decode(run.stdout, type=Verdict)
    fault_run.count += verdict.count
    assert not verdict.complaints, "\n".join(verdict.complaints)
    assert set(verdict.kinds) == set(ALL)
    for kind in EXACT:
        assert verdict.outcomes[f"{kind}: found"] == verdict.kinds[kind]


async def test_within_its_window_a_process_serves_what_it_verified_before_and_no_other_does(
    tmp_path: Path, fault_run: FaultRun
) -> None:
    """What `verify: window` costs: a block that goes bad within a day of its check leaves the process that checked it
    as it is. A process that has not read it yet, and every bucket with `verify: always`, refuses."""
    async with running_engine(tmp_path) as engine:
        for bucket in (WINDOW, ALWAYS):
            await put(engine, "object", BODY, bucket=bucket)
            assert await get(engine, "object", bucket=bucket) == BODY
        for path in chunk_files(tmp_path):
            change_first_byte(path)
        assert await get(engine, "object", bucket=WINDOW) == b"\0" + BODY[1:]
        with pytest.raises(DataCorrupt):
            await get(engine, "object", bucket=ALWAYS)
    async with running_engine(tmp_path) as engine:
        for bucket in (WINDOW, ALWAYS):
            with pytest.raises(DataCorrupt):
                await get(engine, "object", bucket=bucket)
    fault_run.count += 2


def change_first_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0")
