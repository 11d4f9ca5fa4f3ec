"""What a process knew of etcd when it last ran, on its disk, so that a restart during an outage still serves reads."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import xxhash

from shoal_core.etcd.values import Snapshot
from shoal_core.telemetry import get_logger

CHECKSUM_BYTES = 8


def load_snapshot(path: Path) -> Snapshot | None:
    """None when there is none; a damaged one is ignored with a warning."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    body = data[CHECKSUM_BYTES:]
    if xxhash.xxh3_64_digest(body) == data[:CHECKSUM_BYTES]:
        try:
            return msgspec.msgpack.decode(body, type=Snapshot)
        except msgspec.MsgspecError:
            pass
    get_logger().warning("cache-ignored", path=str(path), reason="damaged")
    return None


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Atomic: a reader finds the old file or the new one."""
    body = msgspec.msgpack.encode(snapshot)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(xxhash.xxh3_64_digest(body) + body)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
