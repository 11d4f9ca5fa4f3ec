"""Templates of names, against what bash makes of them."""

from __future__ import annotations

import subprocess

import pytest

from shoal_core.errors import InvalidArgument
from shoal_core.name_template import NAMES_MAX, NameTemplate


@pytest.mark.parametrize(
    "template",
    ["p-{0..9}.tar", "{00..12..3}", "a{1..3}b{08..10}c", "x{5..5}", "{1..010}/{0..20..7}.jpg", "plain"],
)
def test_names_are_those_of_bash(template: str) -> None:
    expected = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {template}"], capture_output=True, text=True, check=True
    )
    found = NameTemplate.parse(template)
    assert list(found) == expected.stdout.splitlines()
    assert len(found) == len(list(found))


@pytest.mark.parametrize(
    "template",
    [
        "{",
        "a}",
        "{a..b}",
        "{3..1}",
        "{0..9..0}",
        "{}",
        "{1..2",
        f"{{0..{NAMES_MAX}}}",
        "{0..1}" * 17,
        "{0..12345}" * 5,
    ],
)
def test_what_is_no_range_is_refused(template: str) -> None:
    with pytest.raises(InvalidArgument):
        NameTemplate.parse(template)
