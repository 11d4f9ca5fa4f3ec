"""Committing what was written: whoever wrote the files keeps or discards them as the outcome of the commit says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from shoal_core.errors import ShoalError
from shoal_core.objects import ObjectInfo
from shoal_store.commit import Commit, Committer
from shoal_store.threads import in_thread
from shoal_store.writer import Written

T = TypeVar("T")


async def commit_written(committer: Committer, commit: Commit, written: Written) -> ObjectInfo:
    # Not cancelled with its caller: only the outcome tells whether the files are still needed.
    committing = asyncio.ensure_future(committer.commit(commit))
    try:
        info = await asyncio.shield(committing)
    except ShoalError as error:
        if nothing_changed(error):
            await in_thread(written.discard)
        written.settle()
        raise
    except asyncio.CancelledError:
        committing.add_done_callback(partial(discard_unless_committed, written))
        raise
    written.settle()
    return info


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Goes on when its caller is cancelled, for work that must not stop in the middle."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(look_at_outcome)
    return await asyncio.shield(task)


def look_at_outcome(task: asyncio.Future[Any]) -> None:
    """Nobody may be left to hear of it; asyncio would call an error unheard of a bug."""
    if not task.cancelled():
        task.exception()


def discard_unless_committed(written: Written, committing: asyncio.Future[ObjectInfo]) -> None:
    """When a writer went away in the middle of its commit. On the event loop, so the removal goes to a thread."""
    if committing.cancelled():
        return
    error = committing.exception()
    if isinstance(error, ShoalError) and nothing_changed(error):
        asyncio.get_running_loop().run_in_executor(None, written.discard)
    else:
        written.settle()


def nothing_changed(error: ShoalError) -> bool:
    """Whether a commit that failed with this has surely not happened. If it may have, its files must stay:
    a record may name them; if none does, they are orphans, to be collected."""
    return error.metadata.get("outcome") != "unknown"
