"""How the pauses between restarts grow, and when they start afresh."""

from __future__ import annotations

from shoal_cli.supervisor.backoff import FIRST_SECONDS, GOOD_RUN_SECONDS, SECONDS_MAX, Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff()
    pauses = [backoff.pause_seconds(0.0) for _ in range(8)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, SECONDS_MAX, SECONDS_MAX]


def test_a_process_that_ran_for_a_while_is_started_again_soon() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.pause_seconds(0.0)
    assert backoff.pause_seconds(GOOD_RUN_SECONDS) == FIRST_SECONDS
    assert backoff.pause_seconds(0.0) == 2 * FIRST_SECONDS
