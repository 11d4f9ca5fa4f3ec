"""What a process knew of etcd when it last ran, on its disk, so that a restart during an outage still serves reads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import xxhash

from shoal_core.decoding import UNDECODABLE
from shoal_core.etcd.values import KeyValue, Snapshot
from shoal_core.telemetry import get_logger

T = TypeVar("T")

CHECKSUM_BYTES = 8
RETRY_SECONDS = 5.0


def load_snapshot(path: Path) -> Snapshot | None:
    """None when there is none; a damaged one is ignored with a warning."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        get_logger().warning("cache-ignored", path=str(path), reason=str(error))
        return None
    body = data[CHECKSUM_BYTES:]
    if xxhash.xxh3_64_digest(body) == data[:CHECKSUM_BYTES]:
        try:
            return msgspec.msgpack.decode(body, type=Snapshot)
        except UNDECODABLE:
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


async def keep_saved(
    path: Path, snapshot: Callable[[], Snapshot], *, changed: Callable[[], Awaitable[object]]
) -> None:
    """For ever: save what `snapshot` gives, and again after each change. One at a time, and never in anyone's way.

    A disk that takes no file is no reason to stop following etcd: it is tried again.
    """
    saved = load_snapshot(path) or Snapshot(0, ())
    while True:
        latest = snapshot()
        if latest.items == saved.items:
            await changed()
            continue
        try:
            await asyncio.to_thread(save_snapshot, path, latest)
        except OSError as error:
            get_logger().warning("cache-not-saved", path=str(path), reason=str(error))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            saved = latest


def decoded(item: KeyValue, type: type[T]) -> T | None:
    """The JSON value of a key. One that this release does not understand is left out, with a warning."""
    try:
        return msgspec.json.decode(item.value, type=type)
    except UNDECODABLE as error:
        get_logger().warning("etcd-value-ignored", key=item.key, reason=str(error))
        return None
