"""Failures of single objects in a long transfer: told at once, counted, and at some point enough."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from shoal_cli.connection import EXIT_FAILED, describe
from shoal_cli.output import complain
from shoal_core.errors import ShoalError, TooBusy, Unavailable

FAILURES_MAX = 50
ATTEMPTS_MAX = 4
PAUSE_SECONDS_MIN = 0.25


class Failures:
    """Use `guard` around the work on one object; `exit_code` at the end."""

    def __init__(self) -> None:
        self.count = 0

    async def guard(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work; an error of this one object is told and counted, and the others go on."""
        try:
            await work()
        except ShoalError as error:
            self._add(what, describe(error))
        except OSError as error:
            self._add(what, f"{error.filename}: {error.strerror}" if error.filename else str(error))

    @property
    def exit_code(self) -> int | None:
        return EXIT_FAILED if self.count else None

    def _add(self, what: str, text: str) -> None:
        self.count += 1
        complain(text if what in text else f"{what}: {text}")
        if self.count >= FAILURES_MAX:
            raise ShoalError(f"stopped after {self.count} failures")


async def once(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def persistently(work: Callable[[], Awaitable[None]]) -> None:
    """Repeat work that met a restarting or too busy part of the cluster, a few times with growing pauses."""
    pause_seconds = PAUSE_SECONDS_MIN
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            await work()
            return
        except (TooBusy, Unavailable):
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.5))
            pause_seconds *= 3
    await work()
