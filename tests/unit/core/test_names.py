"""Which names are allowed, and what becomes of those that have several spellings."""

from __future__ import annotations

import pytest

from shoal_core.errors import InvalidName
from shoal_core.names import checked_namespace, checked_object_name, checked_reference
from shoal_core.objects import BucketReference


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "metrics", "ais", "x" * 63])
def test_bucket_name_is_allowed(name: str) -> None:
    assert checked_reference(name) == BucketReference(name, "ais", "")


@pytest.mark.parametrize(
    "name",
    [
        "*",
        ".",
        "",
        " ",
        "bucket/badname",
        "#x",
        "$x",
        "~x",
        "..",
        "a..b",
        "x" * 64,
        "a\n",
        "\0",
        "é",
        "-a",
        "@",
    ],
)
def test_bucket_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="1 to 63 letters"):
        checked_reference(name)


@pytest.mark.parametrize(
    ("spelling", "provider"), [("", "ais"), ("s3", "aws"), ("gs", "gcp"), ("az", "azure"), ("oc", "oci")]
)
def test_provider_spellings_mean_one_provider(spelling: str, provider: str) -> None:
    assert checked_reference("b", provider=spelling).provider == provider


def test_unknown_provider_is_refused() -> None:
    with pytest.raises(InvalidName, match="'ftp' is not known: use one of ais"):
        checked_reference("b", provider="ftp")


@pytest.mark.parametrize("spelling", ["", "@", "#", "@#"])
def test_global_namespace_has_several_spellings(spelling: str) -> None:
    assert checked_namespace(spelling) == ""


@pytest.mark.parametrize(
    ("spelling", "shortest"), [("@#team", "#team"), ("@uuid#", "@uuid"), ("@uuid#team", "@uuid#team")]
)
def test_namespace_has_one_shortest_form(spelling: str, shortest: str) -> None:
    assert checked_namespace(spelling) == shortest


@pytest.mark.parametrize("namespace", ["#team", "@uuid#team", "@uuid"])
def test_namespace_is_kept(namespace: str) -> None:
    assert checked_reference("b", namespace=namespace).namespace == namespace


@pytest.mark.parametrize("namespace", ["team", "#a/b", "#..", "@u#n#m", "#a\n"])
def test_namespace_is_refused(namespace: str) -> None:
    with pytest.raises(InvalidName, match="namespace"):
        checked_namespace(namespace)


@pytest.mark.parametrize(
    "name", ["a", "../../etc/passwd", "/a", "a//b", "a%2Fb", "?#&", " ", "\n", "é" * 512]
)
def test_object_name_is_kept_as_it_is(name: str) -> None:
    assert checked_object_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "1 to 1024 bytes"), ("é" * 513, "this one 1026"), ("a\0b", "NUL"), ("\ud800", "UTF-8")],
)
def test_object_name_is_refused(name: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        checked_object_name(name)
