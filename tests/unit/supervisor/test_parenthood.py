"""Children end with their parent, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shoal_cli.supervisor.parenthood import start_bound_process
from support.cluster import is_alive
from support.workload import wait_until

PARENT = """
import os, sys, time
from pathlib import Path
from shoal_cli.supervisor.parenthood import start_bound_process
child = start_bound_process(["sleep", "60"], output=Path(sys.argv[1]), environment=os.environ)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.send_signal(number)
    wait_until(lambda: not is_alive(child), 10, "the end of the child")


def test_a_child_has_a_session_of_its_own_no_input_and_only_the_given_environment(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("earlier\n")
    script = 'cat; echo "$GREETING $HOME"; ps -o sid= -p $$ | tr -d " "; echo oops >&2'
    child = start_bound_process(
        ["/bin/sh", "-c", script], output=log, environment={"GREETING": "hello", "PATH": os.environ["PATH"]}
    )
    assert child.wait(10) == 0
    assert log.read_text() == f"earlier\nhello \n{child.pid}\noops\n"


def test_a_program_that_is_not_there_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start_bound_process(["/no/such/program"], output=tmp_path / "log", environment={})
