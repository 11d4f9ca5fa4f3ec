"""The header that names the source of a copy."""

from __future__ import annotations

import pytest

from shoal_core.errors import InvalidName
from shoal_gateway.call import Call
from shoal_gateway.s3.copying import SOURCE, source_of
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.requests import S3Request


def source(header: bytes) -> tuple[str, str]:
    call = Call("PUT", b"/b/k", {}, {SOURCE: header.decode("latin-1")}, "", "", "")
    return source_of(S3Request(call, None, "b", "k", None, "", {}))  # type: ignore[arg-type]  # headers only


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"/b/k", "k"),
        (b"b/a%2Fb%3F?versionId=null", "a/b?"),
        (b"b/%C3%A9", "\u00e9"),
        (b"b/\xc3\xa9", "\u00e9"),
    ],
)
def test_the_key_is_decoded_once(header: bytes, key: str) -> None:
    assert source(header) == ("b", key)


def test_what_is_no_key_is_refused() -> None:
    for header in (b"", b"b", b"b/"):
        with pytest.raises(S3Error):
            source(header)
    with pytest.raises(InvalidName):
        source(b"b/\xff")
