"""An engine over three mountpaths, whose states are kept over its restarts and shared on a board."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shoal_store.engine import Engine, open_engine
from shoal_store.mountpath_states import MountpathStates
from support.engines import BUCKET, Fence, mountpath_folders
from support.stores import ALL_SLOTS, CLUSTER_ID


@asynccontextmanager
async def engine_on(folder: Path) -> AsyncIterator[Engine]:
    folders = mountpath_folders(folder, 3)
    states = MountpathStates(list(folders), file=folder / "kept.json", board=folder / "board")
    engine = open_engine(folders, cluster=CLUSTER_ID, target="t1", authority=Fence(), states=states)
    await asyncio.to_thread(engine.own, 1, ALL_SLOTS)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def mountpath_of(engine: Engine, name: str) -> str:
    return engine.mountpaths.of_name(BUCKET.id, name.encode())
