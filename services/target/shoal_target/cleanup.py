"""The job `cleanup-store`: collect what no row of the indexes names. The target does so by itself too, once a day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import Counter

from shoal_core.errors import ShoalError
from shoal_core.jobs import JobSpecification, ProgressReport
from shoal_core.load import Pace
from shoal_core.telemetry import get_logger
from shoal_store.engine import Engine
from shoal_store.orphans import Step
from shoal_store.threads import in_thread

REMOVED = Counter("shoal_store_orphans_removed_total", "Files and payloads that nothing named")
FREED = Counter("shoal_store_orphans_removed_bytes_total", "Bytes that they had")


@dataclass(frozen=True, slots=True)
class Cleanup:
    engine: Engine
    pace: Pace
    """In rows."""
    age_seconds_min: float

    async def job(self, _job: JobSpecification, report: ProgressReport) -> None:
        """`Work`. Interrupted, it is simply begun again."""
        async for step in self._steps():
            await report.add(objects=step.removed, bytes=step.bytes)

    async def run(self, *, every_seconds: float) -> None:
        """For ever; not at all when `every_seconds` is 0. Run it as a task."""
        while every_seconds:
            await asyncio.sleep(every_seconds)
            try:
                async for _ in self._steps():
                    """It is counted."""
            except ShoalError as error:
                get_logger().warning("cleanup-failed", reason=error.message)

    async def _steps(self) -> AsyncIterator[Step]:
        steps = await in_thread(self.engine.collect_orphans, age_seconds_min=self.age_seconds_min)
        removed = size = 0
        while (step := await in_thread(next, steps, None)) is not None:
            removed, size = removed + step.removed, size + step.bytes
            REMOVED.inc(step.removed)
            FREED.inc(step.bytes)
            yield step
            await self.pace.spend(step.rows + step.removed)
        if removed:
            get_logger().info("orphans-collected", removed=removed, bytes=size)
