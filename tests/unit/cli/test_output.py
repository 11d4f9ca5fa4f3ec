"""Text for people that cannot steer their terminal, and sizes that they can read."""

from __future__ import annotations

import pytest

from shoal_cli.output import printable, size_text, timestamp


def test_control_characters_in_names_are_escaped_and_letters_are_not() -> None:
    assert printable("é/\x1b[2J\n猫 \u202e") == "é/\\x1b[2J\\n猫 \\u202e"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (2**60, "1024.0 PiB")],
)
def test_sizes_are_told_in_binary_units(size: int, text: str) -> None:
    assert size_text(size) == text


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123Z"
