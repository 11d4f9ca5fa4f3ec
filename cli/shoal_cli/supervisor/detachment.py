"""`shoal up --detach`: a supervisor in a session of its own, and the pipe by which it says how its start went."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.state import ClusterState
from shoal_core.errors import ConfigurationError, ShoalError

START_SECONDS_MAX = 120.0
"""The supervisor gives up by itself earlier, and needs some time to stop what it had started."""
READY = b"ready"


class Announcement(Protocol):
    """Whom the supervisor tells how far it has come; a context around its whole life."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        return None

    def laid_out(self) -> None:
        """The data folder is there and everything in it is written."""

    def ready(self, state: ClusterState) -> None:
        """Every process serves."""


class DetachedAnnouncement(Announcement):
    """Of a supervisor that `start_detached` started: to the pipe, and to its log once there can be one."""

    def __init__(self, folder: DataFolder, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._has_log = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        # Before there was a log, standard error was the pipe, and the command complains there itself.
        if isinstance(error, ShoalError) and self._has_log:
            self._tell(error.message.encode())

    def laid_out(self) -> None:
        """From here on this process writes to its log, and holds the pipe only to tell the outcome."""
        with self._folder.log("supervisor").open("ab") as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        self._has_log = True

    def ready(self, state: ClusterState) -> None:
        self._tell(READY)

    def _tell(self, outcome: bytes) -> None:
        if self._descriptor >= 0:
            try:
                os.write(self._descriptor, outcome)
            except BrokenPipeError:
                pass  # nobody waits any more
            finally:
                os.close(self._descriptor)
                self._descriptor = -1


def start_detached(arguments: Sequence[str]) -> None:
    """Start `shoal <arguments>` and return when its cluster is ready. Raises ConfigurationError."""
    reading, writing = os.pipe()
    try:
        subprocess.Popen(
            [sys.executable, "-m", "shoal_cli", *arguments, "--ready-descriptor", str(writing)],
            stdin=subprocess.DEVNULL,
            # What goes wrong before the supervisor can speak for itself is worth reading too.
            stdout=writing,
            stderr=writing,
            pass_fds=[writing],
            start_new_session=True,
        )
    finally:
        os.close(writing)
    try:
        outcome = read_all(reading)
    finally:
        os.close(reading)
    if outcome != READY:
        text = outcome.decode(errors="replace").strip().removeprefix("shoal: ")
        raise ConfigurationError(text or "the supervisor ended without a word")


def read_all(descriptor: int) -> bytes:
    deadline = time.monotonic() + START_SECONDS_MAX
    outcome = b""
    while True:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise ConfigurationError(
                f"the cluster is not ready after {START_SECONDS_MAX:g} s; see `shoal status`"
            )
        piece = os.read(descriptor, 4096)
        if not piece:
            return outcome
        outcome += piece
