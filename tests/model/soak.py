"""`scripts/soak-model`: slices of new sequences, each with a line in the report; stop it at any time.

The line is written when its slice has ended, so what an interrupted slice did is not counted.
"""

from __future__ import annotations

import argparse
import secrets
import time
from pathlib import Path

import msgspec

from model.tally import Tally
from model.uploads import StoreMachine
from model.walks import walk
from support.report_lines import REPORTS, SEED_BITS, append_line, lines_of, now

SEQUENCES = 60
STEPS = 50


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    ended: str
    machine: str = "engine"
    seed: int
    steps: int
    refusals: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--until-steps", type=int, default=300_000, help="in all slices of the report")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--report", type=Path, default=REPORTS / "model-steps.jsonl")
    parser.add_argument("--seed", type=int, help="one slice again, shrunk and not reported")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        walk(StoreMachine, Tally(), seed=chosen.seed, sequences=SEQUENCES, steps=STEPS, shrink=True)
        return
    end = time.monotonic() + chosen.seconds
    while (done := steps_reported(chosen.report)) < chosen.until_steps and time.monotonic() < end:
        print(f"{done:,} steps of {chosen.until_steps:,}", flush=True)
        append_line(chosen.report, one_slice(secrets.randbits(SEED_BITS)))


def one_slice(seed: int) -> Slice:
    tally, began = Tally(), time.monotonic()
    walk(StoreMachine, tally, seed=seed, sequences=SEQUENCES, steps=STEPS)
    seconds = round(time.monotonic() - began, 1)
    return Slice(ended=now(), seed=seed, steps=tally.steps, refusals=tally.refusals, seconds=seconds)


def steps_reported(report: Path) -> int:
    return sum(line.steps for line in lines_of(report, Slice))


if __name__ == "__main__":
    main()
