"""What the lane remembers of a signature proves nothing: each request is hashed, and judged by clock and keys."""

from __future__ import annotations

import time

import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR, Principal
from shoal_core.s3_keys import AccessKey, AccessKeys
from shoal_gateway.lane.requests import KNOWN_HEADERS, parse_head
from shoal_gateway.lane.signature import LaneVerifier
from support.s3_signing import ACCESS_KEY, HOST, REGION, SECRET, Signer


def verifier(secret: str = SECRET, access_key: str = ACCESS_KEY) -> LaneVerifier:
    key = AccessKey(access_key, secret.encode(), LOCAL_ADMINISTRATOR)
    return LaneVerifier(AccessKeys([key]), REGION)


def presigned(path: str = "/lane/name", *, expires: int = 60) -> bytes:
    request = Signer().presigned("GET", path, expires=expires)
    return request.raw_path + b"?" + request.raw_query


def proved(target: bytes, by: LaneVerifier) -> Principal | None:
    request = parse_head(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, HOST.encode()), KNOWN_HEADERS)
    assert request is not None
    return by.principal_of(request)


def test_a_url_is_proved_as_often_as_it_comes_wherever_its_signature_stands() -> None:
    url, by = presigned(), verifier()
    path, _, query = url.partition(b"?")
    *others, signature = query.split(b"&")
    assert signature.startswith(b"X-Amz-Signature=")
    sorted_url = path + b"?" + b"&".join(sorted([*others, signature]))
    for target in (url, sorted_url, url):
        assert proved(target, by) is LOCAL_ADMINISTRATOR


def test_urls_of_one_moment_need_a_signature_each() -> None:
    one, other, by = presigned("/lane/one"), presigned("/lane/other"), verifier()
    assert proved(one, by) is LOCAL_ADMINISTRATOR
    assert proved(one.replace(b"/lane/one", b"/lane/other"), by) is None
    assert proved(other[:-64] + one[-64:], by) is None
    assert proved(one + b"&X-Amz-Signature=" + one[-64:], by) is None
    assert proved(other, by) is LOCAL_ADMINISTRATOR


def test_a_url_that_was_proved_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    url, by = presigned(expires=60), verifier()
    assert proved(url, by) is LOCAL_ADMINISTRATOR
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 62)
    assert proved(url, by) is None


def test_a_key_that_was_revoked_or_got_another_secret_proves_nothing() -> None:
    url = presigned()
    assert proved(url, verifier()) is LOCAL_ADMINISTRATOR
    assert proved(url, verifier(secret=SECRET[::-1])) is None
    assert proved(url, verifier(access_key="OTHER")) is None
    assert proved(url, verifier()) is LOCAL_ADMINISTRATOR
