"""A process of its own that copies an index: `python -m shoal_store.index_copying MOUNTPATH FILE BYTES_PER_SECOND`.

LMDB's own hot copy, compacted, of one snapshot. A process, because it is the most polite way: at the lowest priority,
beside the target's interpreter and not in it, and an I/O error in LMDB's map ends this process alone. It ends with the
target. Its last line says what the copy has; whoever started it puts the file in its place.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path

import lmdb
import msgspec
import xxhash

from shoal_core.errors import DataCorrupt, OutOfSpace
from shoal_store.durability import sync_data
from shoal_store.index import MAP_BYTES, TABLES, Index, Snapshot
from shoal_store.ledger import seal_of
from shoal_store.mountpaths import available_bytes
from shoal_store.sealed import is_sealed

PIECE_BYTES = 1 << 20
SPACE_SHORT_BYTES = 512 << 20
SEALED = ("records", "versions", "uploads", "tombstones")
NICENESS = 19
PR_SET_PDEATHSIG = 1


class CopiedFile(msgspec.Struct, frozen=True):
    """What the process says at its end."""

    transaction: int
    rows: int
    bytes: int
    checksum: int
    """XXH3-64 of the file."""


def copied(mountpath: Path, file: Path, *, bytes_per_second: float) -> CopiedFile:
    """Written, synced, and found complete. Raises OSError, ConfigurationError, DataCorrupt and lmdb.Error."""
    index = Index("", mountpath, writable=False)
    try:
        snapshot, size, checksum = pumped(index, file, bytes_per_second=bytes_per_second)
    finally:
        index.close()
    check_complete(file, snapshot)
    return CopiedFile(snapshot.transaction, sum(snapshot.counts.values()), size, checksum)


def pumped(index: Index, file: Path, *, bytes_per_second: float) -> tuple[Snapshot, int, int]:
    """LMDB writes into a pipe, and this end of it sets the pace."""
    reading, writing = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIECE_BYTES)
    snapshots: list[Snapshot | Exception] = []

    def copy() -> None:
        try:
            snapshots.append(index.copy_to(writing))
        except Exception as error:
            snapshots.append(error)
        finally:
            os.close(writing)

    thread = threading.Thread(target=copy, name="copy")
    thread.start()
    try:
        size, checksum = drained(reading, file, index.path, bytes_per_second=bytes_per_second)
    finally:
        os.close(reading)
        thread.join()
    if isinstance(snapshots[0], Exception):
        raise snapshots[0]
    return snapshots[0], size, checksum


def drained(reading: int, file: Path, source: Path, *, bytes_per_second: float) -> tuple[int, int]:
    """Size and checksum of what was written to the file, and synced. Raises OSError, Unavailable, and OutOfSpace when
    either disk becomes short: as long as the snapshot is held, LMDB reuses no page, so even a delete makes the index
    grow."""
    size, hashed, began = 0, xxhash.xxh3_64(), time.monotonic()
    with file.open("xb", buffering=0) as output:
        while piece := os.read(reading, PIECE_BYTES):
            hashed.update(piece)
            view = memoryview(piece)
            while view:
                view = view[output.write(view) :]
            size += len(piece)
            for path in (source, file.parent):
                require_space(path, 0, kept=SPACE_SHORT_BYTES)
            time.sleep(max(0.0, began + size / bytes_per_second - time.monotonic()))
        sync_data(output.fileno(), "copy data")
        os.posix_fadvise(output.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return size, hashed.intdigest()


def require_space(path: Path, size: int, *, kept: int) -> None:
    """Raises OutOfSpace and Unavailable."""
    available = available_bytes(path)[1]
    if available < size + kept:
        raise OutOfSpace(
            f"no copy of an index: {path} has {available >> 20} MiB, and {size + kept >> 20} MiB are needed; add space"
        )


def check_complete(file: Path, snapshot: Snapshot) -> None:
    """That every row of the snapshot is there, in order, and sound. Raises DataCorrupt."""
    with lmdb.open(
        str(file), subdir=False, readonly=True, lock=False, map_size=MAP_BYTES, max_dbs=len(TABLES)
    ) as environment:
        for name in TABLES:
            table = environment.open_db(name.encode(), create=False)
            with environment.begin(buffers=True) as transaction, transaction.cursor(db=table) as cursor:
                rows, seals = check_rows(cursor, name)
            if rows != snapshot.counts[name]:
                raise DataCorrupt(
                    f"`{name}` of the copy has {rows} rows, the index says {snapshot.counts[name]}"
                )
            if seals != snapshot.sums.get(name, seals):
                raise DataCorrupt(f"`{name}` of the index has lost rows: run `shoal fsck`")


def check_rows(cursor: lmdb.Cursor, table: str) -> tuple[int, int]:
    """Their number, and the XOR of their seals. A copy with a damaged row must not take the place of one that has it
    whole."""
    rows, seals, previous = 0, 0, b""
    for rows, (raw_key, value) in enumerate(cursor, 1):  # noqa: B007
        key = bytes(raw_key)
        if key <= previous or (table in SEALED and not is_sealed(key, value)):
            raise DataCorrupt(f"`{table}` of the index has a damaged row: run `shoal fsck`")
        previous, seals = key, seals ^ seal_of(value)
    return rows, seals


def main() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    os.nice(NICENESS)
    mountpath, file, bytes_per_second = sys.argv[1:]
    try:
        found = copied(Path(mountpath), Path(file), bytes_per_second=float(bytes_per_second))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
