"""An index is truncated under a process that has it mapped: that one dies, and the next start leaves the disk out."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shoal_core.errors import MountpathUnavailable
from shoal_store.bus_errors import fail_unreadable, is_readable
from shoal_store.mountpath_states import MountpathState, MountpathStates
from shoal_store.mountpaths import MountpathFolder
from support.disk_engine import engine_on, mountpath_of
from support.engines import get, mountpath_folders, put

NAMES = [f"object-{number}" for number in range(300)]
INLINE = b"x" * 4000
KEPT_BYTES = 64 << 10

READ_ALL = """
import sys
from pathlib import Path
from shoal_store.bus_errors import fail_unreadable, read_to_the_end
from shoal_store.mountpath_states import MountpathStates

folder = Path(sys.argv[1])
fail_unreadable([], MountpathStates(["mp1"]), folder / "notes")
read_to_the_end(folder / "mp2")
"""


async def test_after_a_bus_error_the_start_finds_the_index_and_serves_the_others(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        for name in NAMES:
            await put(engine, name, INLINE)
    os.truncate(tmp_path / "mp2" / "index" / "data.mdb", KEPT_BYTES)

    command = [sys.executable, "-c", READ_ALL, str(tmp_path)]
    died = await asyncio.to_thread(subprocess.run, command, check=False, timeout=300)
    assert died.returncode == -signal.SIGBUS

    folders = [MountpathFolder(*each) for each in mountpath_folders(tmp_path, 3).items()]
    states = MountpathStates([each.id for each in folders], file=tmp_path / "kept.json")
    fail_unreadable_quietly(folders, states, tmp_path / "notes")
    assert [states.of(each.id).state for each in folders] == [
        MountpathState.AVAILABLE,
        MountpathState.FAILED,
        MountpathState.AVAILABLE,
    ]

    async with engine_on(tmp_path) as engine:
        lost, kept = (
            next(name for name in NAMES if (mountpath_of(engine, name) == "mp2") is wanted)
            for wanted in (True, False)
        )
        assert await get(engine, kept) == INLINE
        with pytest.raises(MountpathUnavailable, match="mountpath mp2 of target t1"):
            await get(engine, lost)


def fail_unreadable_quietly(folders: list[MountpathFolder], states: MountpathStates, notes: Path) -> None:
    """Without notes of pytest's own process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faulthandler.enable", lambda file: file.close())
        fail_unreadable(folders, states, notes)


async def test_an_end_without_a_bus_error_reads_no_index(tmp_path: Path) -> None:
    states = MountpathStates(["mp1"])
    folder = MountpathFolder("mp1", tmp_path / "mp1")
    (tmp_path / "mp1" / "index").mkdir(parents=True)
    (tmp_path / "mp1" / "index" / "data.mdb").write_bytes(b"no database" * 1000)
    (tmp_path / "notes").write_bytes(b"")
    fail_unreadable_quietly([folder], states, tmp_path / "notes")
    assert states.of("mp1").state is MountpathState.AVAILABLE
    assert not is_readable(tmp_path / "mp1")


@pytest.mark.parametrize("signal_name", ["Bus error", "Segmentation fault", "Aborted"])
async def test_after_any_fatal_signal_an_index_that_cannot_be_read_is_left_out(
    signal_name: str, tmp_path: Path
) -> None:
    """LMDB may die in other ways too of pages that are damaged."""
    states = MountpathStates(["mp1"])
    (tmp_path / "mp1" / "index").mkdir(parents=True)
    (tmp_path / "mp1" / "index" / "data.mdb").write_bytes(b"no database" * 1000)
    (tmp_path / "notes").write_text(f"Fatal Python error: {signal_name}\n")
    fail_unreadable_quietly([MountpathFolder("mp1", tmp_path / "mp1")], states, tmp_path / "notes")
    assert states.of("mp1").state is MountpathState.FAILED
