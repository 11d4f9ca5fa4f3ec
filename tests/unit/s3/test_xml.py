"""XML that lies or explodes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.xml import DOCUMENT_BYTES_MAX, leaf, parse

BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Delete>&b;</Delete>'


@pytest.mark.parametrize(
    "document",
    [
        b"", b"<", b"<Delete>", b"<Other/>", b"<Delete></Other>", BOMB,
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Delete/>', b"<Delete>" + b"<a>" * 50, b"<Delete>\xff</Delete>",
        b"<Delete>" + b"<a/>" * 200_000 + b"</Delete>",
    ],
)  # fmt: skip
def test_what_is_not_small_and_plain_is_malformed(document: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        parse(document, "Delete")
    assert caught.value.code == "MalformedXML"


def test_a_long_document_is_too_big() -> None:
    with pytest.raises(S3Error) as caught:
        parse(b"<Delete>" + b" " * DOCUMENT_BYTES_MAX, "Delete")
    assert caught.value.code == "MaxMessageLengthExceeded"


def test_an_element_that_is_given_twice_is_malformed() -> None:
    with pytest.raises(S3Error, match="more than once"):
        parse(b"<Delete><Quiet>true</Quiet><Quiet>false</Quiet></Delete>", "Delete").value("Quiet")


def test_white_space_belongs_to_a_key_and_not_to_a_number() -> None:
    document = parse(b"<Delete>\n <Key> a\n</Key>\n <Quiet>\n true </Quiet></Delete>", "Delete")
    assert (document.exact("Key"), document.value("Quiet")) == (" a\n", "true")


@given(
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f\ufffe\uffff"))
)
def test_text_comes_back(text: str) -> None:
    document = parse(f"<Delete>{leaf('Key', text)}</Delete>".encode(), "Delete")
    assert document.exact("Key") == text
    assert document.value("Key") == text.strip()
