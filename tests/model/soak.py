"""`scripts/soak-model`: slices of new sequences, each with a line in the report; stop it at any time.

The line is written when its slice has ended, so what an interrupted slice did is not counted.
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from model.tally import Tally
from model.uploads import StoreMachine
from model.walks import SEED_BITS, walk

REPORT = Path(__file__).resolve().parents[2] / "docs" / "reports" / "model-steps.jsonl"
SEQUENCES = 60
STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--until-steps", type=int, default=300_000, help="in all slices of the report")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--seed", type=int, help="one slice again, shrunk and not reported")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        walk(StoreMachine, Tally(), seed=chosen.seed, sequences=SEQUENCES, steps=STEPS, shrink=True)
        return
    end = time.monotonic() + chosen.seconds
    while (done := steps_reported(chosen.report)) < chosen.until_steps and time.monotonic() < end:
        print(f"{done:,} steps of {chosen.until_steps:,}", flush=True)
        line = json.dumps(one_slice(secrets.randbits(SEED_BITS)))
        with chosen.report.open("a") as file:
            file.write(line + "\n")


def one_slice(seed: int) -> dict[str, object]:
    tally, began = Tally(), time.monotonic()
    walk(StoreMachine, tally, seed=seed, sequences=SEQUENCES, steps=STEPS)
    return {
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": "engine",
        "seed": seed,
        "steps": tally.steps,
        "refusals": tally.refusals,
        "seconds": round(time.monotonic() - began, 1),
    }


def steps_reported(report: Path) -> int:
    if not report.exists():
        return 0
    return sum(json.loads(line)["steps"] for line in report.read_text().splitlines())


if __name__ == "__main__":
    main()
