"""Signature Version 4: what botocore signs is good, anything else is not."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from shoal_core.s3_keys import AccessKeys
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.signature import Request, Verified, verify
from support.s3_signing import Signer, now

TARGETS = (
    "/",
    "/bucket",
    "/bucket/key",
    "/bucket/a%20b%2Bc/%C3%A9%25",
    "/bucket//double//slash/..",
    "/bucket/key?x-id=GetObject",
    "/bucket?list-type=2&prefix=a%2Fb&delimiter=%2F",
    "/bucket?acl",
    "/s3/bucket/~tilde_-.",
)


def check(request: Request, keys: AccessKeys, *, later_seconds: float = 0) -> Verified:
    return verify(request, keys=keys, region="shoal", now=now() + timedelta(seconds=later_seconds))


def refusal(request: Request, keys: AccessKeys, *, later_seconds: float = 0) -> str:
    with pytest.raises(S3Error) as caught:
        check(request, keys, later_seconds=later_seconds)
    return caught.value.code


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_botocore_signs_is_good(signer: Signer, keys: AccessKeys, method: str, target: str) -> None:
    assert check(signer.signed(method, target, headers={"x-amz-meta-a": "  b   c "}), keys).principal
    assert check(signer.presigned(method, target), keys).payload == "UNSIGNED-PAYLOAD"


def test_every_mutation_of_a_signed_request_is_refused(signer: Signer, keys: AccessKeys) -> None:
    chance = random.Random(4)
    for _ in range(2000):
        signed = signer.signed if chance.random() < 0.5 else signer.presigned
        request = signed(chance.choice(["GET", "PUT"]), chance.choice(TARGETS))
        mutated = mutation(request, chance)
        if (mutated.method, mutated.raw_path, mutated.raw_query, mutated.headers) == (
            request.method, request.raw_path, request.raw_query, request.headers,
        ):  # fmt: skip
            continue
        with pytest.raises(S3Error):
            check(mutated, keys)


def mutation(request: Request, chance: random.Random) -> Request:
    match chance.randrange(4):
        case 0:
            return replace(request, method={"GET": "DELETE", "PUT": "GET"}[request.method])
        case 1:
            return replace(request, raw_path=request.raw_path + b"x")
        case 2:
            return replace(request, raw_query=request.raw_query + b"&uploads=")
        case _:
            return replace(request, headers=[*request.headers, (b"x-amz-copy-source", b"/other/secret")])


def test_a_header_that_would_turn_a_presigned_put_into_a_copy_is_refused(
    signer: Signer, keys: AccessKeys
) -> None:
    request = signer.presigned("PUT", "/bucket/key")
    changed = replace(request, headers=[*request.headers, (b"x-amz-copy-source", b"/bucket/other")])
    assert refusal(changed, keys) == "AccessDenied"


def test_the_secret_the_key_and_the_region_must_be_right(signer: Signer, keys: AccessKeys) -> None:
    assert refusal(Signer(secret="wrong").signed("GET", "/b/k"), keys) == "SignatureDoesNotMatch"
    assert refusal(signer.signed("GET", "/b/k"), AccessKeys()) == "InvalidAccessKeyId"
    wrong_region = Signer(region="eu-west-9")
    assert refusal(wrong_region.signed("GET", "/b/k"), keys) == "AuthorizationHeaderMalformed"
    assert refusal(wrong_region.presigned("GET", "/b/k"), keys) == "AuthorizationQueryParametersError"


def test_us_east_1_is_taken_from_clients_that_were_told_no_region(keys: AccessKeys) -> None:
    assert check(Signer(region="us-east-1").signed("GET", "/b/k"), keys)


@pytest.mark.parametrize("minutes", range(-1440, 1445, 5))
def test_a_signature_is_good_for_a_quarter_of_an_hour_around_its_date(
    signer: Signer, keys: AccessKeys, minutes: int
) -> None:
    request = signer.signed("GET", "/b/k")
    if abs(minutes) < 15:
        assert check(request, keys, later_seconds=minutes * 60)
    elif abs(minutes) > 15:
        assert refusal(request, keys, later_seconds=minutes * 60) == "RequestTimeTooSkewed"


def test_a_presigned_url_ends_and_may_last_a_week(signer: Signer, keys: AccessKeys) -> None:
    week = 7 * 24 * 3600
    assert refusal(signer.presigned("GET", "/b/k"), keys, later_seconds=62) == "AccessDenied"
    assert check(signer.presigned("GET", "/b/k", expires=week), keys, later_seconds=week - 5)
    too_long = signer.presigned("GET", "/b/k", expires=week + 1)
    assert refusal(too_long, keys) == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(
    ("headers", "query", "code"),
    [
        ([], b"", "AccessDenied"),
        ([(b"authorization", b"AWS AKID:abc=")], b"", "InvalidRequest"),
        ([], b"AWSAccessKeyId=A&Signature=B&Expires=1", "InvalidRequest"),
        ([(b"authorization", b"AWS4-HMAC-SHA256 Credential=x")], b"", "AuthorizationHeaderMalformed"),
        ([(b"authorization", b"AWS4-HMAC-SHA256 x")], b"X-Amz-Signature=1", "InvalidArgument"),
        ([], b"X-Amz-Signature=1", "AuthorizationQueryParametersError"),
        ([(b"authorization", b"\xff\xfe")], b"", "InvalidRequest"),
    ],
)
def test_what_is_no_signature_says_why(
    keys: AccessKeys, headers: list[tuple[bytes, bytes]], query: bytes, code: str
) -> None:
    assert refusal(Request("GET", b"/b/k", query, [(b"host", b"h"), *headers]), keys) == code


def test_a_signature_of_other_characters_than_ascii_is_wrong_and_no_bug(
    signer: Signer, keys: AccessKeys
) -> None:
    request = signer.signed("GET", "/b/k")
    headers = [
        (n, v.replace(b"Signature=", b"Signature=\xc3\xa9") if n == b"authorization" else v)
        for n, v in request.headers
    ]
    assert refusal(replace(request, headers=headers), keys) == "SignatureDoesNotMatch"
