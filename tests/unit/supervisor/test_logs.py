"""What is kept of the children's logs, and which sentence of them is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal_cli.supervisor.logs import REASON_CHARACTERS_MAX, TAIL_BYTES, last_words, trim


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "t1.log"


def test_a_log_that_was_never_written_says_nothing(log: Path) -> None:
    assert last_words(log, since=0) == ""


def test_only_what_was_written_since_the_start_counts(log: Path) -> None:
    log.write_text("an earlier failure\n")
    assert last_words(log, since=log.stat().st_size) == ""


def test_the_last_line_that_is_not_empty_is_the_reason(log: Path) -> None:
    log.write_text("first\nshoal: the disk is full\n\n  \n")
    assert last_words(log, since=0) == "shoal: the disk is full"


def test_of_a_json_line_the_message_and_the_error_are_shown(log: Path) -> None:
    log.write_text('{"level":"fatal","msg":"discovery failed","error":"bind: address in use"}\n')
    assert last_words(log, since=0) == "discovery failed: bind: address in use"


@pytest.mark.parametrize("line", ["[1, 2]", '{"ts": 1}', "{broken"])
def test_other_lines_are_shown_as_they_are(log: Path, line: str) -> None:
    log.write_text(line + "\n")
    assert last_words(log, since=0) == line


def test_long_reasons_and_long_logs_are_cut(log: Path) -> None:
    log.write_bytes(b"x" * (3 * TAIL_BYTES) + b"\xff")
    assert len(last_words(log, since=0)) == REASON_CHARACTERS_MAX


def test_a_log_within_its_bound_is_left_alone(log: Path) -> None:
    log.write_text("short\n")
    trim(log)
    assert log.read_text() == "short\n"
    assert not log.with_name("t1.log.1").exists()


def test_a_log_beyond_its_bound_becomes_the_older_one(log: Path) -> None:
    with log.open("ab") as writing:
        writing.write(b"more than ten\n")
        writing.flush()
        trim(log, bytes_max=10)
        writing.write(b"next\n")
    assert log.with_name("t1.log.1").read_text() == "more than ten\n"
    assert log.read_text() == "next\n"
