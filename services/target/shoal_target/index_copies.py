"""Keeps a hot copy of every index, as new as the settings ask for."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import Counter, Gauge

from shoal_core.errors import ShoalError
from shoal_core.telemetry import get_logger
from shoal_store.engine import Engine
from shoal_store.index import Index
from shoal_store.index_copies import IndexCopy, copies_of
from shoal_store.threads import in_thread

COPIES = Counter("shoal_store_index_copies_total", "Hot copies of indexes", ["mountpath", "outcome"])
MADE = Gauge(
    "shoal_store_index_copy_made_seconds", "Time of the newest copy, in seconds since 1970", ["mountpath"]
)
BYTES = Gauge("shoal_store_index_copy_bytes", "Size of the newest copy", ["mountpath"])
FIRST_SECONDS_MAX = 60.0
SHARE_OF_TIME = 10
"""A copy that takes long is followed by a pause of so many times as long, whatever the interval."""


class IndexCopies:
    def __init__(self, engine: Engine, *, interval_seconds: float, bytes_per_second: float) -> None:
        self._engine = engine
        self._interval_seconds = interval_seconds
        self._copier = engine.index_copier(bytes_per_second=bytes_per_second)

    async def run(self) -> None:
        """For ever; not at all when the interval is 0. Run it as a task."""
        if self._interval_seconds and len(self._engine.mountpaths.all) == 1:
            get_logger().warning(
                "index-copy-beside-index",
                reason="this target has one mountpath: the copy helps against a damaged index, not a lost disk",
            )
        pause_seconds = min(self._interval_seconds, FIRST_SECONDS_MAX)
        while self._interval_seconds:
            await asyncio.sleep(pause_seconds)
            began = time.monotonic()
            await self.copy_all()
            pause_seconds = max(self._interval_seconds, SHARE_OF_TIME * (time.monotonic() - began))

    async def copy_all(self) -> None:
        """Those that have changed since their last copy. What fails is told, and tried again the next time."""
        for index in self._engine.indexes.available():
            mountpath = index.mountpath_id
            try:
                if await in_thread(self._is_current, index):
                    COPIES.labels(mountpath, "skipped").inc()
                    continue
                began = time.monotonic()
                copy = await self._copier.copy(mountpath, size=index.used_bytes())
                self._tell(copy, time.monotonic() - began)
                COPIES.labels(mountpath, "made").inc()
            except ShoalError as error:
                COPIES.labels(mountpath, "failed").inc()
                get_logger().warning("index-copy-failed", mountpath=mountpath, reason=error.message)

    def _is_current(self, index: Index) -> bool:
        """Blocks."""
        paths = [folder.path for folder in self._engine.mountpaths.available()]
        newest = next(iter(copies_of(index.mountpath_id, paths)), None)
        if newest is None:
            return False
        self._show(newest)
        return newest.description.transaction == index.last_transaction()

    def _tell(self, copy: IndexCopy, seconds: float) -> None:
        made = copy.description
        self._show(copy)
        get_logger().info(
            "index-copied",
            mountpath=made.mountpath,
            folder=str(copy.folder),
            rows=made.rows,
            bytes=made.bytes,
            seconds=round(seconds, 3),
        )

    def _show(self, copy: IndexCopy) -> None:
        MADE.labels(copy.description.mountpath).set(copy.description.made_ns / 1e9)
        BYTES.labels(copy.description.mountpath).set(copy.description.bytes)
