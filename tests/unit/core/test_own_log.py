"""A process's own log, read by a process whose standard error is a file."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

LINES = (
    b'{"event":"ready","level":"info"}\n'
    b'{"event":"slow","level":"warning"}\n'
    b"no JSON at all\n"
    b'{"event":"lost","level":"error"}\n'
)


def run(log: Path | None, code: str) -> bytes:
    """What the code prints, as a process that appends its standard error to `log`."""
    program = f"import sys\nfrom shoal_core import own_log\nout = sys.stdout.buffer\n{code}"
    command = [sys.executable, "-c", program]
    if log is None:
        return subprocess.run(command, capture_output=True, check=True).stdout
    with log.open("ab") as file:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=file, check=True).stdout


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "t1.log"
    file.write_bytes(LINES)
    return file


@pytest.mark.parametrize(("level", "count"), [("", 4), ("info", 4), ("warning", 3), ("error", 2)])
def test_lines_of_a_level_and_above_are_given(log: Path, level: str, count: int) -> None:
    text = run(log, f"out.write(own_log.log_text({level!r}))")
    assert len(text.splitlines()) == count
    assert text.splitlines()[-1] == LINES.splitlines()[-1]


def test_what_was_read_before_is_passed_over(log: Path) -> None:
    offset = LINES.index(b"\n") + 1
    assert run(log, f"out.write(own_log.log_text('', offset={offset}))") == LINES[offset:]


def test_a_rotated_log_begins_anew_and_is_kept_in_the_archive(log: Path) -> None:
    code = "own_log.rotate(); sys.stderr.write('after'); sys.stderr.flush(); out.write(own_log.log_archive())"
    with tarfile.open(fileobj=io.BytesIO(run(log, code))) as archive:
        contents = {entry.name: archive.extractfile(entry) for entry in archive}
        assert {name: file and file.read() for name, file in contents.items()} == {
            "t1.log": b"after", "t1.log.1": LINES,
        }  # fmt: skip


def test_a_process_without_a_log_file_says_where_to_look() -> None:
    code = (
        "try:\n own_log.log_text('')\nexcept own_log.NotFound as error:\n out.write(error.message.encode())"
    )
    assert b"docker logs" in run(None, code)


def test_an_unknown_level_is_refused(log: Path) -> None:
    code = "try:\n own_log.log_text('loud')\nexcept own_log.InvalidArgument:\n out.write(b'refused')"
    assert run(log, code) == b"refused"
