"""Times in the layouts of Go's clients."""

from __future__ import annotations

import pytest

from shoal_core.errors import InvalidArgument
from shoal_gateway.rest.time_layouts import time_writer

TIME_NS = 1_795_449_604_070_500_000
"""Monday, 23 November 2026, 16:00:04.0705 UTC."""


@pytest.mark.parametrize(
    ("layout", "written"),
    [
        ("02 Jan 06 15:04 MST", "23 Nov 26 16:00 UTC"),
        ("Mon, 02 Jan 2006 15:04:05 -0700", "Mon, 23 Nov 2026 16:00:04 +0000"),
        ("2006-01-02T15:04:05Z07:00", "2026-11-23T16:00:04Z"),
        ("2006-01-02T15:04:05.999999999Z07:00", "2026-11-23T16:00:04.0705Z"),
        ("2006-01-02 15:04:05.000", "2026-11-23 16:00:04.070"),
        ("15:04:05,9", "16:00:04"),
        ("3:04PM", "4:00PM"),
        ("03:04 pm, 1/2/06", "04:00 pm, 11/23/26"),
        ("Monday, January _2", "Monday, November 23"),
        ("Jan _2 15:04:05", "Nov 23 16:00:04"),
        ("002 __2 _2006", "327 327 _2026"),
        ("4'5''", "0'4''"),
        ("at", "at"),
    ],
)
def test_a_time_is_written_as_the_reference_time_stands(layout: str, written: str) -> None:
    assert time_writer(layout)(TIME_NS) == written


def test_a_layout_is_short() -> None:
    with pytest.raises(InvalidArgument):
        time_writer("2006" * 50)
