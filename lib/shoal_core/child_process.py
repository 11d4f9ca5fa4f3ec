"""A child process beside the event loop, without a thread of its own.

Not `asyncio.create_subprocess_exec`: uvloop starts a process with `fork`, and what Python and gRPC do in the child
before its `exec` may meet a lock or a queue of a thread that is not there (docs/development.md). `subprocess.Popen`
without `preexec_fn` uses `vfork`, in whose child nothing of ours runs.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence


def piped(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Started, with nothing to read and two pipes to speak into. Raises OSError."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def exit_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for its end; returns its exit code, negative for a signal."""
    loop = asyncio.get_running_loop()
    while process.poll() is None:
        ended = asyncio.Event()
        descriptor = os.pidfd_open(process.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    assert process.returncode is not None
    return process.returncode
