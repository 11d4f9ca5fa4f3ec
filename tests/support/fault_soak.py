"""`scripts/soak`: the tests of faults again and again, with new seeds, until the contract's counts are reached.

Every slice is a run of pytest over the tests of one fault, and adds their lines to the report; so stop it at any time,
and go on later. The fault that has had the least time is next.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from support.fault_counts import (
    GOALS,
    REPORT_VARIABLE,
    SECONDS_VARIABLE,
    SEED_VARIABLE,
    FaultLine,
    table,
)
from support.report_lines import REPORTS, lines_of

REPORT = REPORTS / "faults.jsonl"
NOTHING_COLLECTED = 5
"""pytest's exit code."""
HEADING = """# Faults tried so far

What the contract asks and what all runs of `make soak` together have reached; each run is a line of
[faults.jsonl](faults.jsonl) with its seed and commit. A run that failed stays counted as failed; what it found stands
in [bugs.md](bugs.md). `scripts/soak --table` writes this page.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "ids", nargs="*", choices=[*GOALS, []], help="of faults; all that are not reached yet"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="until then a new slice begins")
    parser.add_argument("--box", type=float, default=120, help="seconds for each test of a slice")
    parser.add_argument("--seed", type=int, help="one slice again, not reported")
    parser.add_argument("--table", action="store_true", help="write the page and do nothing else")
    parser.add_argument("--report", type=Path, default=REPORT)
    chosen = parser.parse_args()
    if chosen.seed is not None:
        sys.exit(run_slice(chosen.ids, box=chosen.box, variables={SEED_VARIABLE: str(chosen.seed)}))
    if not chosen.table:
        soak(chosen.ids, chosen.report, seconds=chosen.seconds, box=chosen.box)
    write_table(chosen.report)


def soak(ids: Sequence[str], report: Path, *, seconds: float, box: float) -> None:
    end, absent = time.monotonic() + seconds, set[str]()
    while time.monotonic() < end:
        waiting = [id for id in ids or unreached(report) if id not in absent]
        if not waiting:
            return
        id = min(waiting, key=lambda id: seconds_had(report, id))
        print(f"== {id}", flush=True)
        code = run_slice([id], box=box, variables={REPORT_VARIABLE: str(report)})
        if code == NOTHING_COLLECTED or not seconds_had(report, id):
            absent.add(id)
        write_table(report)


def run_slice(ids: Sequence[str], *, box: float, variables: dict[str, str]) -> int:
    marked = " or ".join(f"fault(id='{id}')" for id in ids) or "fault"
    command = [sys.executable, "-m", "pytest", "tests/faults", "-q", "-m", marked, f"--timeout={box + 300:g}"]
    return subprocess.run(command, env=os.environ | {SECONDS_VARIABLE: f"{box:g}"} | variables).returncode


def unreached(report: Path) -> list[str]:
    done = dict.fromkeys(GOALS, 0)
    for line in lines_of(report, FaultLine):
        if line.held:
            done[line.id] += line.count
    return [id for id, goal in GOALS.items() if not goal.soak or done[id] < goal.soak]


def seconds_had(report: Path, id: str) -> float:
    return sum(line.seconds for line in lines_of(report, FaultLine) if line.id == id)


def write_table(report: Path) -> None:
    report.with_suffix(".md").write_text(HEADING + table(lines_of(report, FaultLine)))


if __name__ == "__main__":
    main()
