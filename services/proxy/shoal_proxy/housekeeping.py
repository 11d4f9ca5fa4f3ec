"""What keeps etcd small. Any proxy may do it at any time, since doing it twice does no harm."""

from __future__ import annotations

import asyncio

from shoal_core.errors import ShoalError
from shoal_core.etcd.client import EtcdClient
from shoal_core.jobs import JobBoard
from shoal_core.object_jobs import forget_names
from shoal_core.telemetry import get_logger

PAUSE_SECONDS = 60.0


async def keep_history_short(board: JobBoard, etcd: EtcdClient) -> None:
    """Forget the oldest jobs that have ended, and the names that ended ones were given, again and again."""
    while True:
        try:
            if forgotten := await board.forget_old():
                get_logger().info("jobs-forgotten", count=forgotten)
            await forget_names(etcd, board)
        except ShoalError as error:
            get_logger().warning("jobs-not-forgotten", reason=error.message)
        await asyncio.sleep(PAUSE_SECONDS)
