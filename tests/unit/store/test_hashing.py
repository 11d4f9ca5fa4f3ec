"""The checksums of a body: the one that is kept, those that were promised, the etag."""

from __future__ import annotations

import hashlib

import pytest
import xxhash
from hypothesis import given, strategies as st

from shoal_core.errors import ChecksumMismatch, InvalidArgument
from shoal_core.objects import Checksum
from shoal_store.hashing import HASHES, ContentHashes

CHECK = b"123456789"
"""What checksums are compared by: https://reveng.sourceforge.io/crc-catalogue/."""
KNOWN = {
    "xxhash2": "8cb841db40e6ae83",
    "crc32c": "e3069283",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "sha256": hashlib.sha256(CHECK).hexdigest(),
    "sha512": hashlib.sha512(CHECK).hexdigest(),
}


@pytest.mark.parametrize("type", HASHES)
def test_each_type_gives_the_known_value(type: str) -> None:
    hashes = ContentHashes(type, ())
    hashes.update(CHECK)
    assert hashes.kept() == Checksum(type, KNOWN[type])


@given(pieces=st.lists(st.binary(max_size=50), max_size=5), type=st.sampled_from(sorted(HASHES)))
def test_pieces_give_what_the_whole_gives(pieces: list[bytes], type: str) -> None:
    whole, split = ContentHashes(type, ()), ContentHashes(type, ())
    whole.update(b"".join(pieces))
    for piece in pieces:
        split.update(bytearray(piece))
    assert (split.kept(), split.etag()) == (whole.kept(), whole.etag())


def test_nothing_is_kept_where_the_bucket_wants_none() -> None:
    hashes = ContentHashes("none", ())
    hashes.update(CHECK)
    assert hashes.kept() == Checksum("none", "")
    assert hashes.etag() == xxhash.xxh3_64_hexdigest(CHECK)


def test_the_etag_is_md5_where_it_was_asked_for() -> None:
    hashes = ContentHashes("crc32c", (), etag="md5")
    hashes.update(CHECK)
    assert hashes.etag() == KNOWN["md5"]
    assert hashes.kept().value == KNOWN["crc32c"]


def test_a_fast_etag_cannot_be_taken_for_md5() -> None:
    hashes = ContentHashes("none", (), etag="fast")
    hashes.update(CHECK)
    assert hashes.etag() == f"{xxhash.xxh3_64_hexdigest(CHECK)}-1"


def test_an_etag_that_is_a_promised_checksum_too_is_computed_once() -> None:
    hashes = ContentHashes("md5", [Checksum("md5", KNOWN["md5"])], etag="md5")
    hashes.update(CHECK)
    hashes.check()
    assert hashes.etag() == hashes.kept().value == KNOWN["md5"]


def test_promises_that_are_kept_pass_in_either_case_of_letters() -> None:
    hashes = ContentHashes("none", [Checksum(type, value.upper()) for type, value in KNOWN.items()])
    hashes.update(CHECK)
    hashes.check()


@pytest.mark.parametrize("type", HASHES)
def test_a_promise_that_is_not_kept_is_refused_with_both_values(type: str) -> None:
    hashes = ContentHashes("none", [Checksum(type, KNOWN[type])])
    hashes.update(CHECK + b"!")
    with pytest.raises(
        ChecksumMismatch, match=f"not {KNOWN[type]} as announced: nothing was stored"
    ) as caught:
        hashes.check()
    assert caught.value.metadata["type"] == type


@pytest.mark.parametrize("type", ["", "sha1", "MD5", "crc32"])
def test_an_unknown_type_is_refused_with_the_known_ones(type: str) -> None:
    with pytest.raises(InvalidArgument, match="use one of xxhash2, crc32c, md5, sha256, sha512"):
        ContentHashes("none", [Checksum(type, "00")])
