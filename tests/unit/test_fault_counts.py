"""Runs of fault tests add up over sessions, and what a failed run did counts for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.fault_counts import GOALS, SECONDS_VARIABLE, FaultLine, FaultRun, table
from support.report_lines import append_line, lines_of


def row(lines: list[FaultLine], id: str) -> list[str]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(lines).splitlines()]
    return next(cells for cells in rows if cells[0] == id)


def test_runs_add_up_and_failed_ones_are_counted_apart(tmp_path: Path) -> None:
    report = tmp_path / "faults.jsonl"
    for held in (True, False, True):
        run = FaultRun("F1", "tests/x.py::test_x", seed=7)
        assert len(list(run.cycles(3, seconds=60))) == 3
        run.note_worst("restart_seconds", 1.5)
        append_line(report, run.line(held=held))
    cells = row(lines_of(report, FaultLine), "F1")
    assert cells[5:8] == ["6", "3", "1"]
    assert cells[9] == "restart_seconds 1.5"


def test_a_cycle_that_broke_off_is_not_counted() -> None:
    run = FaultRun("F1", "tests/x.py::test_x", seed=7)
    for number in run.cycles(3, seconds=60):
        if number == 1:
            break
    assert run.count == 1


def test_the_time_box_ends_the_cycles_and_a_soak_goes_on_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(list(FaultRun("F1", "", seed=7).cycles(1000, seconds=0))) == 1
    monkeypatch.setenv(SECONDS_VARIABLE, "0.05")
    assert len(list(FaultRun("F1", "", seed=7).cycles(2, seconds=60))) > 2


def test_every_fault_has_its_row_before_anything_was_tried() -> None:
    assert all(row([], id)[5] == "0" for id in GOALS)


def test_a_failing_run_tells_how_it_is_repeated() -> None:
    assert "SHOAL_FAULT_SEED=7" in FaultRun("F1", "tests/x.py::test_x", seed=7).again
