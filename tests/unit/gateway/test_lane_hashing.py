"""Hashes from contexts that are copied are those of hashlib and hmac, however often one is used."""

from __future__ import annotations

import hashlib
import hmac
import os

import pytest

from shoal_gateway.lane.hashing import KeyedHash, digest_of, hash_under
from shoal_gateway.s3.signature import signing_key

DATA = [b"", b"a", os.urandom(55), os.urandom(64), os.urandom(1000)]


def test_a_digest_is_that_of_sha256() -> None:
    assert [digest_of(data) for data in DATA] == [hashlib.sha256(data).hexdigest() for data in DATA]


@pytest.mark.parametrize("length", [0, 1, 32, 64])
def test_a_keyed_hash_is_that_of_hmac(length: int) -> None:
    key = os.urandom(length)
    keyed = KeyedHash(key)
    assert [keyed.digest_of(data) for data in DATA] == [
        hmac.digest(key, data, "sha256").hex() for data in DATA
    ]


def test_a_secret_that_changed_has_another_key() -> None:
    scope = "20261127/shoal/s3/aws4_request"
    for secret in (b"one", b"other", b"one"):
        key = signing_key(secret, scope)
        assert hash_under(secret, scope).digest_of(b"data") == hmac.digest(key, b"data", "sha256").hex()
