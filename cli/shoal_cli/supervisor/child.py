"""One child process: started, watched, started again with growing pauses, stopped with a deadline."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoal_cli.supervisor.backoff import Backoff
from shoal_cli.supervisor.logs import last_words, size_of
from shoal_cli.supervisor.parenthood import start_bound_process
from shoal_cli.supervisor.state import ChildState, Phase
from shoal_core.child_process import exit_of
from shoal_core.errors import ConfigurationError

READY_POLL_SECONDS = 0.05
HELD_POLL_SECONDS = 0.1
FIRST_ATTEMPTS_MAX = 3
"""A process that ends this often before it was ever ready will not get ready."""
EXIT_CONFIGURATION = 2
"""Our services end so when a person must change something; starting them again helps nobody."""
EXIT_NOT_RUN = 127


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """What to run."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    is_ready: Callable[[int], Awaitable[bool]]
    """Whether the process with this id serves."""
    stop_seconds: float
    """How long it may take to stop when asked, before it is killed."""
    held_file: Path
    """While it exists, the process is not started again."""


class Child:
    """`keep()` runs it until `stop()`. `say` gets one line for people; `changed` is called at each new state."""

    def __init__(
        self, plan: ChildPlan, *, say: Callable[[str], None], changed: Callable[[], None] = lambda: None
    ) -> None:
        self.plan = plan
        self._say = say
        self._changed = changed
        self._phase = Phase.STARTING
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._starts = 0
        self._refusal = ""
        """Why the system did not even run it, the last time."""
        self._stopping = asyncio.Event()
        self._first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Of several children that cannot start, only the first one's reason is asked for.
        self._first_ready.add_done_callback(lambda future: future.cancelled() or future.exception())

    @property
    def state(self) -> ChildState:
        pid = self._process.pid if self._process is not None else 0
        restarts = max(0, self._starts - 1)
        return ChildState(
            self.plan.name, self._phase, pid, restarts, self._started_at, log=str(self.plan.log)
        )

    async def first_ready(self) -> None:
        """Wait until it serves for the first time. Raises ConfigurationError when it cannot."""
        await asyncio.shield(self._first_ready)

    async def keep(self) -> None:
        backoff = Backoff()
        try:
            while not self._stopping.is_set():
                log_start = size_of(self.plan.log)
                began = time.monotonic()
                code = await self._run_once()
                if self._stopping.is_set():
                    break
                if self._is_hopeless(code, log_start):
                    break
                await self._pause(code, backoff.pause_seconds(time.monotonic() - began))
        finally:
            self._kill()
            self._enter(Phase.STOPPED)

    async def stop(self) -> None:
        """Ask it to stop, and kill it when it does not. Returns when it has ended."""
        self._stopping.set()
        if self._process is None:
            return
        self._enter(Phase.STOPPING)
        ended = asyncio.ensure_future(exit_of(self._process))
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait([ended], timeout=self.plan.stop_seconds)
        if not done:
            self._say(f"{self.plan.name} did not stop in {self.plan.stop_seconds:g} s and is killed")
            self._signal(signal.SIGKILL)
        await ended

    async def _run_once(self) -> int:
        """From start to end; returns the exit code, negative for a signal."""
        self._enter(Phase.STARTING)
        try:
            self._process = start_bound_process(
                self.plan.argv, output=self.plan.log, environment=self.plan.environment
            )
        except OSError as error:
            self._refusal = f"{error.filename or self.plan.argv[0]}: {error.strerror}"
            return EXIT_NOT_RUN
        self._refusal = ""
        self._starts += 1
        self._started_at = time.time()
        self._changed()
        readiness = asyncio.create_task(self._watch_readiness(self._process.pid))
        try:
            return await exit_of(self._process)
        finally:
            readiness.cancel()
            self._process = None if self._process.returncode is not None else self._process

    async def _watch_readiness(self, pid: int) -> None:
        while not await self.plan.is_ready(pid):  # noqa: ASYNC110  another process has no event to wait for
            await asyncio.sleep(READY_POLL_SECONDS)
        if not self._stopping.is_set():
            self._enter(Phase.READY)
        if not self._first_ready.done():
            self._first_ready.set_result(None)

    def _is_hopeless(self, code: int, log_start: int) -> bool:
        """Whether it never served and there is no sense in trying again."""
        if self._first_ready.done():
            return False
        if code not in (EXIT_CONFIGURATION, EXIT_NOT_RUN) and self._starts < FIRST_ATTEMPTS_MAX:
            return False
        reason = self._refusal or last_words(self.plan.log, since=log_start) or how_it_ended(code)
        sentence = f"{self.plan.name} cannot start: {reason} (log: {self.plan.log})"
        self._first_ready.set_exception(ConfigurationError(sentence))
        return True

    async def _pause(self, code: int, pause_seconds: float) -> None:
        name, held = self.plan.name, self.plan.held_file
        ended = f"could not be run ({self._refusal})" if self._refusal else how_it_ended(code)
        self._enter(Phase.HELD if held.exists() else Phase.PAUSING)
        if held.exists():
            self._say(f"{name} {ended}; it is not started again while {held} exists")
            while held.exists() and not self._stopping.is_set():
                await self._stopped_within(HELD_POLL_SECONDS)
            return
        self._say(f"{name} {ended}; starting it again in {pause_seconds:g} s")
        await self._stopped_within(pause_seconds)

    async def _stopped_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _enter(self, phase: Phase) -> None:
        if phase is not self._phase:
            self._phase = phase
            self._changed()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process = None


def how_it_ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
