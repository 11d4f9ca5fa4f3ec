"""Paths are decoded exactly once; what is not valid is refused, never repaired."""

from __future__ import annotations

import pytest

from shoal_core.errors import InvalidArgument, InvalidName
from shoal_gateway.call import decode_once, parse_query


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"a%2Fb", "a/b"),
        (b"%25", "%"),
        (b"%2525", "%25"),
        (b"..%2F../x", "../../x"),
        (b"/leading", "/leading"),
        (b"%E4%BD%A0", "\u4f60"),
        (b"a%20b+c", "a b+c"),
        (b"%00", "\0"),
    ],
)
def test_names_are_decoded_once(raw: bytes, name: str) -> None:
    assert decode_once(raw) == name


@pytest.mark.parametrize("raw", [b"%", b"%2", b"%zz", b"a%ff", b"%ed%a0%80"])
def test_invalid_escapes_and_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidName):
        decode_once(raw)


def test_the_first_value_of_a_query_field_counts() -> None:
    assert parse_query(b"a=1&a=2&b=&c=x%20y") == {"a": "1", "b": "", "c": "x y"}


@pytest.mark.parametrize("query", [b"a=%ff", b"&".join(b"a=%d" % i for i in range(100))])
def test_unreadable_queries_are_refused(query: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_query(query)
