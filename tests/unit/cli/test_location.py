"""Locations on the command line, and file names for objects that cannot leave their folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from hypothesis import given, strategies as st

from shoal_cli.location import Location, local_path, relative_to_prefix
from shoal_core.errors import InvalidName
from shoal_core.objects import BucketReference


@pytest.mark.parametrize(
    ("text", "bucket", "name"),
    [
        ("ais://photos", "photos", ""),
        ("ais://photos/", "photos", ""),
        ("photos/2026/cat.jpg", "photos", "2026/cat.jpg"),
        ("ais://photos//leading", "photos", "/leading"),
        ("ais://photos/a/../b%2F?#c d", "photos", "a/../b%2F?#c d"),
        ("photos/ais://x", "photos", "ais://x"),
    ],
)
def test_location_is_taken_byte_for_byte(text: str, bucket: str, name: str) -> None:
    assert Location.parse(text) == Location(BucketReference(bucket), name)


def test_namespace_stands_before_the_bucket() -> None:
    assert Location.parse("ais://#research/photos/cat").bucket == BucketReference(
        "photos", "ais", "#research"
    )


@pytest.mark.parametrize("text", ["", "ais://", "s3://photos/cat", "/cat"])
def test_location_without_a_bucket_of_ours_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        Location.parse(text)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a//b", ".", "a/.", "", "a\0b", "a/"])
def test_name_without_a_safe_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        local_path(Path("downloads"), name)


@given(name=st.text(alphabet="a./\\\0~", max_size=8))
def test_every_accepted_name_stays_under_the_folder(name: str) -> None:
    try:
        path = local_path(Path("/downloads"), name)
    except InvalidName:
        return
    assert path.resolve().is_relative_to("/downloads")
    assert path.as_posix() == f"/downloads/{name}"


@pytest.mark.parametrize(
    ("prefix", "relative"), [("", "a/bc/d"), ("a", "a/bc/d"), ("a/", "bc/d"), ("a/b", "bc/d"), ("a/bc/", "d")]
)
def test_folders_of_the_prefix_are_left_out(prefix: str, relative: str) -> None:
    assert relative_to_prefix("a/bc/d", prefix) == relative
