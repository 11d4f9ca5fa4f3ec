"""Starting a process that cannot outlive its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
EXIT_ORPHAN = 125

# Looked up before any fork: a child between fork and exec must not load libraries.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def start_bound_process(
    argv: Sequence[str], *, output: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own, killed by the kernel when the thread that called this ends.

    Call it from the main thread. Its output is appended to `output`. Raises OSError.
    """
    parent = os.getpid()

    def bind_to_parent() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have ended before the line above.
        if os.getppid() != parent:
            os._exit(EXIT_ORPHAN)

    with output.open("ab") as log:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            # A Ctrl-C in the terminal is for the supervisor, which stops its children in order.
            start_new_session=True,
            preexec_fn=bind_to_parent,
        )
