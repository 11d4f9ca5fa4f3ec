"""Patterns of members, and keys of WebDataset samples."""

from __future__ import annotations

import pytest

from shoal_archive.index import plain
from shoal_archive.selecting import selector, webdataset_key
from shoal_core.errors import InvalidArgument


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a.jpg", "a"),
        ("a.seg.png", "a"),
        ("x.y/a.b.c", "x.y/a"),
        ("no-extension", "no-extension"),
        ("d/.hidden", "d/"),
    ],
)
def test_keys_end_at_the_first_dot_of_the_last_element(name: str, key: str) -> None:
    assert webdataset_key(name) == key


def test_a_pattern_that_would_take_for_ever_does_not() -> None:
    assert not selector("(a+)+$", "regexp")("a" * 5000 + "b")


@pytest.mark.parametrize(("pattern", "mode"), [("x", "glob"), ("[", "regexp"), ("x" * 1001, "substr")])
def test_what_is_no_selection_is_refused(pattern: str, mode: str) -> None:
    with pytest.raises(InvalidArgument):
        selector(pattern, mode)


def test_names_are_compared_without_what_leads_nowhere() -> None:
    assert plain("././/a/b") == "a/b"
    assert selector("a/b", "prefix")("./a/b/c")
    assert selector("a", "wdskey")("./a.txt")
