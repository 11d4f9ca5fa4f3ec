"""The real engine against the reference model: new sequences in every run, and those that failed once."""

from __future__ import annotations

import pytest

from model.tally import Tally
from model.uploads import StoreMachine
from model.walks import walk, walk_for

SECONDS = 25.0
FAILED_ONCE: dict[str, int] = {}
"""What went wrong -> the seed that found it; add to it whatever a run prints."""


@pytest.mark.slow
def test_engine_and_model_agree_on_new_sequences() -> None:
    tally = walk_for(StoreMachine, SECONDS)
    assert tally.steps > 0


@pytest.mark.parametrize("seed", [1, *FAILED_ONCE.values()])
def test_engine_and_model_agree_on_a_known_seed(seed: int) -> None:
    walk(StoreMachine, Tally(), seed=seed, sequences=10, steps=50)
