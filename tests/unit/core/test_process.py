"""A process that does not manage to stop is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from shoal_core.process import EXIT_STUCK

HANGS = """
import asyncio, pathlib
from shoal_core import process

async def serve(path, stop):
    print("serving", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    await asyncio.Event().wait()

process.STOP_SECONDS_MAX = 0.2
asyncio.run(process.until_stopped(pathlib.Path("none"), serve))
"""


def test_a_service_that_does_not_stop_is_ended_and_says_so() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HANGS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        # A second signal neither shortens nor prolongs it.
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
        assert process.wait(20) == EXIT_STUCK
    assert "stop-took-too-long" in said
