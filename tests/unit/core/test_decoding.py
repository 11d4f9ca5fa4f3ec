"""Bytes that msgspec fails on with Python's own errors are told in ours, at every edge that takes bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal_core.cache import decoded
from shoal_core.errors import ConfigurationError, InvalidArgument
from shoal_core.etcd.values import NO_LEASE, KeyValue
from shoal_core.membership import ClusterIdentity
from shoal_core.s3_keys import read_key
from shoal_gateway.rest.actions import decode_action

TEXT = b'{"action": "\xff", "access_key_id": "\xff", "cluster_id": "\xff"}'
BODIES = [TEXT, b'{"x": ' + b"[" * 100_000, b'{"x": ' + b'{"x":' * 100_000]


@pytest.fixture(params=BODIES, ids=["text", "arrays", "objects"])
def body(request: pytest.FixtureRequest) -> bytes:
    return bytes(request.param)


def test_an_action_that_cannot_be_decoded_is_the_callers_mistake(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        decode_action(body)


def test_a_value_of_etcd_that_cannot_be_decoded_is_left_out(body: bytes) -> None:
    assert decoded(KeyValue("/k", body, 1, 7, 2, NO_LEASE), ClusterIdentity) is None


def test_a_key_file_that_cannot_be_decoded_is_named(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(body)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key(tmp_path / "key")
