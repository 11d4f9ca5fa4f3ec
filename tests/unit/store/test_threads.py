"""Blocking work beside the loop: nobody goes on while it still runs."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from shoal_store.threads import ThreadBeside, in_thread


async def test_the_result_and_the_error_of_the_work_arrive() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)


async def test_a_cancelled_caller_goes_on_only_when_the_work_has_ended() -> None:
    started, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert go_on.wait(10)
        ended.set()

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(started.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_the_error_of_work_whose_caller_is_gone_is_not_reported_as_forgotten() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    started, go_on = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert go_on.wait(10)
        raise OSError("disk on fire")

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()
    assert reports == []


async def test_one_call_at_a_time_runs_beside_the_caller_in_order() -> None:
    beside, ran = ThreadBeside(), list[int]()
    for number in range(5):
        await beside.run(ran.append, number)
    await beside.ended()
    assert ran == [0, 1, 2, 3, 4]


async def test_the_error_of_a_call_beside_is_raised_once() -> None:
    beside = ThreadBeside()
    await beside.run(list[int]().remove, 1)
    with pytest.raises(ValueError, match="not in list"):
        await beside.ended()
    await beside.ended()
