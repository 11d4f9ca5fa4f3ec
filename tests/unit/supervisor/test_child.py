"""One child process: started, started again, given up, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from shoal_cli.supervisor.child import Child, ChildPlan
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.local_cluster import says_ready
from shoal_cli.supervisor.state import Phase
from shoal_core.errors import ConfigurationError
from support.waiting import eventually

SERVE = 'echo "{\\"pid\\": $$}" > $READY; exec sleep 60'
# A shell would start `sleep` after the signal has come; Python ignores it for good.
STUBBORN = (
    "import os, signal, json\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "open(os.environ['READY'], 'w').write(json.dumps({'pid': os.getpid()}))\n"
    "while True: signal.pause()\n"
)

Make = Callable[..., Child]


@pytest.fixture
async def said() -> list[str]:
    return []


@pytest.fixture
async def make(folder: DataFolder, said: list[str]) -> AsyncIterator[Make]:
    """Starts a child of that shell script or argument list; it is stopped at the end."""
    children: list[tuple[Child, asyncio.Task[None]]] = []

    def make_child(script: str = "", *, argv: list[str] | None = None, stop_seconds: float = 5.0) -> Child:
        ready = folder.ready_file("t1")
        plan = ChildPlan(
            "t1",
            argv or ["/bin/sh", "-c", script],
            dict(os.environ) | {"READY": str(ready)},
            log=folder.log("t1"),
            is_ready=says_ready(ready),
            stop_seconds=stop_seconds,
            held_file=folder.held / "t1",
        )
        child = Child(plan, say=said.append)
        children.append((child, asyncio.create_task(child.keep())))
        return child

    yield make_child
    for child, keeping in children:
        await child.stop()
        with suppress(asyncio.CancelledError):
            await keeping


def is_ready_anew(child: Child, earlier_pid: int) -> bool:
    return child.state.phase is Phase.READY and child.state.pid != earlier_pid


async def test_a_child_that_serves_is_ready_and_known_by_its_process(make: Make) -> None:
    child = make(SERVE)
    await child.first_ready()
    assert child.state.phase is Phase.READY
    assert child.state.restarts == 0
    os.kill(child.state.pid, 0)


async def test_a_killed_child_is_started_again_and_said_in_one_line(make: Make, said: list[str]) -> None:
    child = make(SERVE)
    await child.first_ready()
    killed = child.state.pid
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: is_ready_anew(child, killed))
    assert child.state.restarts == 1
    assert said == ["t1 was killed by SIGKILL; starting it again in 0.2 s"]


async def test_a_child_that_ends_soon_is_started_again_after_growing_pauses(
    make: Make, said: list[str]
) -> None:
    child = make('echo "{\\"pid\\": $$}" > $READY; sleep 0.2; exit 3')
    await child.first_ready()
    await eventually(lambda: len(said) == 2)
    assert said == [f"t1 ended with exit code 3; starting it again in {pause} s" for pause in ("0.2", "0.4")]


async def test_a_ready_file_of_an_earlier_process_does_not_count(folder: DataFolder, make: Make) -> None:
    folder.ready_file("t1").write_text('{"pid": 1}')
    child = make(
        'read line < $GO; echo "{\\"pid\\": $$}" > $READY; exec sleep 60'.replace("$GO", fifo(folder))
    )
    await eventually(lambda: child.state.pid != 0)
    assert child.state.phase is Phase.STARTING
    await asyncio.to_thread((folder.root / "go").write_text, "go\n")
    await child.first_ready()


def fifo(folder: DataFolder) -> str:
    os.mkfifo(folder.root / "go")
    return str(folder.root / "go")


async def test_a_child_with_a_wrong_configuration_is_not_tried_again(make: Make, said: list[str]) -> None:
    child = make('echo "t1: no such disk" >&2; exit 2')
    with pytest.raises(ConfigurationError, match=r"^t1 cannot start: t1: no such disk \(log: .*t1\.log\)$"):
        await child.first_ready()
    assert child.state.restarts == 0
    assert said == []


async def test_a_child_that_was_never_ready_is_given_up_after_three_starts(
    make: Make, said: list[str]
) -> None:
    child = make("exit 7")
    with pytest.raises(ConfigurationError, match="t1 cannot start: ended with exit code 7"):
        await child.first_ready()
    assert child.state.restarts == 2
    assert len(said) == 2


async def test_a_program_that_is_not_there_is_given_up_in_one_sentence(make: Make, said: list[str]) -> None:
    child = make(argv=["/no/such/program"])
    with pytest.raises(
        ConfigurationError, match="t1 cannot start: /no/such/program: No such file or directory"
    ):
        await child.first_ready()
    assert said == []


async def test_a_program_that_has_gone_since_is_said_and_tried_again(
    folder: DataFolder, make: Make, said: list[str]
) -> None:
    program = folder.root / "program"
    program.write_text(f"#!/bin/sh\n{SERVE}\n")
    program.chmod(0o700)
    child = make(argv=[str(program)])
    await child.first_ready()
    program.unlink()
    os.kill(child.state.pid, signal.SIGKILL)
    await eventually(lambda: len(said) == 2)
    assert (
        said[1] == f"t1 could not be run ({program}: No such file or directory); starting it again in 0.4 s"
    )


async def test_a_stopped_child_has_ended_and_is_not_started_again(make: Make, said: list[str]) -> None:
    child = make(SERVE)
    await child.first_ready()
    pid = child.state.pid
    await child.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await eventually(lambda: child.state.phase is Phase.STOPPED)
    assert said == []


async def test_a_child_that_does_not_stop_is_killed(make: Make, said: list[str]) -> None:
    child = make(argv=[sys.executable, "-c", STUBBORN], stop_seconds=0.1)
    await child.first_ready()
    await child.stop()
    assert said == ["t1 did not stop in 0.1 s and is killed"]


async def test_a_child_is_stopped_in_the_middle_of_a_pause(make: Make, said: list[str]) -> None:
    child = make("exit 7")
    await eventually(lambda: child.state.phase is Phase.PAUSING)
    await child.stop()
    await eventually(lambda: child.state.phase is Phase.STOPPED)
    assert len(said) == 1


async def test_a_held_child_is_started_again_when_its_file_is_gone(
    folder: DataFolder, make: Make, said: list[str]
) -> None:
    child = make(SERVE)
    await child.first_ready()
    held, killed = folder.held / "t1", child.state.pid
    held.touch()
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: child.state.phase is Phase.HELD)
    held.unlink()
    await eventually(lambda: is_ready_anew(child, killed))
    assert said == [f"t1 was killed by SIGKILL; it is not started again while {held} exists"]


async def test_cancelling_the_keeper_kills_the_child(folder: DataFolder, make: Make) -> None:
    child = make(SERVE)
    await child.first_ready()
    pid = child.state.pid
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__name__", "") == "keep":
            task.cancel()
    await eventually(lambda: child.state.phase is Phase.STOPPED)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
