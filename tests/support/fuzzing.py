"""What tests of bad input by the thousand share: a printed seed, a number of cases, and a limit of processor time."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from datetime import date

SEED = int(os.environ.get("SHOAL_FUZZ_SEED", str(date.today().toordinal())))
SCALE = float(os.environ.get("SHOAL_FUZZ_SCALE", "1"))
"""What the contract's CI counts are multiplied with; 10 and more to soak."""


def cases(name: str, count: int, *, seconds_max: float) -> Iterator[random.Random]:
    """A generator of choices for each case. Its number and the seed repeat it; too slow a test fails."""
    count = int(count * SCALE)
    print(f"{name}: {count} cases, seed {SEED}")
    end = time.process_time() + seconds_max * max(SCALE, 1)
    for number in range(count):
        yield random.Random(f"{SEED}/{name}/{number}")
        assert time.process_time() < end, (
            f"{name}: only {number} of {count} cases in {seconds_max} s of processor time"
        )


def text(choices: random.Random, alphabets: Sequence[str], length_max: int) -> str:
    """Short ones often, long ones seldom."""
    length = choices.choice((1, 2, 3, choices.randint(1, 40), choices.randint(0, length_max)))
    alphabet = choices.choice(alphabets)
    return "".join(choices.choices(alphabet, k=length))
