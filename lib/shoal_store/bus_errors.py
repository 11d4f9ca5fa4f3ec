"""What becomes of a process whose index lost pages under its map: it dies, and its next start finds which index it was.

LMDB reads through a memory map, where an I/O error or a truncated file is a SIGBUS, which Python cannot survive; of a
damaged page it may die by SIGSEGV or SIGABRT. See `docs/decisions/0016`. `python -m shoal_store.bus_errors MOUNTPATH`
reads an index to its end, or dies of it.
"""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import lmdb

from shoal_core.errors import DataCorrupt
from shoal_core.telemetry import get_logger
from shoal_store.index import MAP_BYTES, TABLES
from shoal_store.mountpath_states import MountpathState, MountpathStates
from shoal_store.mountpaths import MountpathFolder
from shoal_store.page_walk import damaged_page

FATAL = b"Fatal Python error"
"""What `faulthandler` writes for SIGBUS, SIGSEGV, SIGABRT, SIGFPE and SIGILL."""
READ_SECONDS_MAX = 3600.0


def fail_unreadable(folders: Iterable[MountpathFolder], states: MountpathStates, notes: Path) -> None:
    """If the process before this one died of a fatal signal, read each available index in a process of its own; one
    that cannot be read becomes failed. Then take such notes for this process. Blocks, as long as that takes."""
    if notes.exists() and FATAL in notes.read_bytes():
        get_logger().error("fatal-signal", notes=notes.read_text(errors="replace")[:2000])
        for folder in folders:
            if states.board.is_available(folder.id) and not is_readable(folder.path):
                reason = "its index cannot be read to its end: a process died of a fatal signal, and may have of it"
                states.set(folder.id, MountpathState.FAILED, reason)
                get_logger().error("mountpath-failed", mountpath=folder.id, reason=reason)
    # Open for as long as the process lives, since it is written at its death.
    faulthandler.enable(notes.open("wb"))


def is_readable(path: Path) -> bool:
    """Also for a folder that is not there, or has no index yet: that is for the start to judge. Blocks."""
    if not (path / "index" / "data.mdb").exists():
        return True
    command = [sys.executable, "-m", "shoal_store.bus_errors", str(path)]
    try:
        return subprocess.run(command, timeout=READ_SECONDS_MAX, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def read_to_the_end(path: Path) -> None:
    """Touches every page that holds something, and raises DataCorrupt for one that LMDB may die of later. Without a
    place in the reader table, which another target may own."""
    with lmdb.open(
        str(path / "index"), map_size=MAP_BYTES, max_dbs=len(TABLES), readonly=True, lock=False
    ) as environment:
        for name in TABLES:
            table = environment.open_db(name.encode(), create=False)
            with environment.begin() as transaction, transaction.cursor(db=table) as cursor:
                for _key, _value in cursor:
                    """The value was copied."""
        # A compacting copy also reads the list of free pages, which only writes use.
        with Path(os.devnull).open("wb") as nowhere:
            environment.copyfd(nowhere.fileno(), compact=True)
        page_bytes = environment.stat()["psize"]
    if (number := damaged_page(path / "index" / "data.mdb", page_bytes=page_bytes)) is not None:
        raise DataCorrupt(f"page {number} of the index of {path} is another's, or in use and free at once")


if __name__ == "__main__":
    read_to_the_end(Path(sys.argv[1]))
