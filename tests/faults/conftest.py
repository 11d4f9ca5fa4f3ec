"""Counts what the tests of faults do, whether they hold or fail; see `support.fault_counts`."""

from __future__ import annotations

from collections.abc import Generator

import msgspec
import pytest

from support.fault_counts import GOALS, FaultLine, FaultRun, chosen_report, chosen_seed, table
from support.report_lines import append_line

PROPERTY = "fault"
"""Of a test's report, which comes here from whatever process ran the test: the line as JSON."""


class Counted:
    """What all tests of a run have done."""

    def __init__(self) -> None:
        self._lines: list[FaultLine] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            values = [str(value) for name, value in report.user_properties if name == PROPERTY]
            self._lines += [msgspec.json.decode(value, type=FaultLine) for value in values]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if lines := self._lines:
            terminalreporter.section(f"faults tried; a line for each test in {chosen_report()}")
            ids = {line.id for line in lines}
            rows = table(lines).splitlines()
            terminalreporter.write_line(
                "\n".join(rows[:2] + [row for row in rows[2:] if row.split()[1] in ids])
            )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Counted())


@pytest.fixture
def fault_run(request: pytest.FixtureRequest) -> FaultRun:
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, 'mark the test with `@pytest.mark.fault(id="...")`'
    assert marker.kwargs["id"] in GOALS
    return FaultRun(marker.kwargs["id"], request.node.nodeid, chosen_seed())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    run = getattr(item, "funcargs", {}).get("fault_run")
    if call.when == "call" and isinstance(run, FaultRun) and not report.skipped:
        line = run.line(held=report.passed)
        append_line(chosen_report(), line)
        report.user_properties.append((PROPERTY, msgspec.json.encode(line).decode()))
        if report.failed:
            report.sections.append(("again by", run.again))
    return report
