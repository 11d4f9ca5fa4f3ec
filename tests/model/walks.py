"""Runs of a machine: by a seed that can be given again, for as long as there is time."""

from __future__ import annotations

import secrets
import time

from hypothesis import HealthCheck, Phase, Verbosity, seed as seeded, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from model.tally import Tally
from support.report_lines import SEED_BITS


def walk(
    kind: type[RuleBasedStateMachine],
    tally: Tally,
    *,
    seed: int,
    sequences: int,
    steps: int,
    shrink: bool = False,
) -> None:
    """`sequences` of at most `steps` each; the same for the same seed. A failure names the seed that repeats it."""
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    chosen = settings(
        max_examples=sequences,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
        print_blob=False,
    )

    try:
        run_state_machine_as_test(seeded(seed)(type("Walked", (kind,), {"tally": tally})), settings=chosen)
    except BaseException as error:
        error.add_note(f"again by: walk(..., {seed=}, {sequences=}, {steps=})")
        raise


def walk_for(
    kind: type[RuleBasedStateMachine], seconds: float, *, sequences: int = 10, steps: int = 50
) -> Tally:
    """Walks with seeds never tried before until the time is over."""
    tally, end = Tally(), time.monotonic() + seconds
    while time.monotonic() < end:
        walk(kind, tally, seed=secrets.randbits(SEED_BITS), sequences=sequences, steps=steps)
    return tally
