"""A redirect is good for one request of one principal for a minute, and the cluster has one key for it."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import msgspec
import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR, READ_ONLY, Permission, Principal
from shoal_core.errors import ConfigurationError, PermissionDenied
from shoal_core.etcd.client import EtcdClient
from shoal_core.redirects import (
    KEY_BYTES,
    SECRET_KEY,
    TOKEN_BYTES_MAX,
    VALID_SECONDS,
    RedirectSigner,
    SignedRequest,
    redirect_key,
    split_token,
    with_token,
)

KEY = bytes(range(KEY_BYTES))
BEGIN = 1_700_000_000.5
READER = Principal("reader", "user", "guest", READ_ONLY)
REQUEST = SignedRequest("GET", b"/v1/objects/b/n%C3%A9e", b"provider=ais&props=")


def signer(key: bytes = KEY, *, at: float = BEGIN) -> RedirectSigner:
    return RedirectSigner(key, now=lambda: at)


TOKEN = signer().token(REQUEST, READER)


@pytest.mark.parametrize("principal", [READER, LOCAL_ADMINISTRATOR, replace(READER, name="\u00e9\u4f60'\"")])
def test_a_token_tells_who_was_verified(principal: Principal) -> None:
    found = signer().principal(REQUEST, signer().token(REQUEST, principal))
    assert found == principal
    assert isinstance(found.permissions, Permission)


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, method="PUT"),
        replace(REQUEST, method="HEAD"),
        replace(REQUEST, raw_path=b"/v1/objects/b/n%c3%a9e"),
        replace(REQUEST, raw_path=b"/v1/objects/b/other"),
        replace(REQUEST, raw_query=b""),
        replace(REQUEST, raw_query=b"props=&provider=ais"),
        replace(REQUEST, raw_path=REQUEST.raw_path + b"p", raw_query=REQUEST.raw_query[1:]),
    ],
)
def test_a_token_is_good_for_no_other_request(other: SignedRequest) -> None:
    with pytest.raises(PermissionDenied, match="not made for this request"):
        signer().principal(other, TOKEN)


def test_a_token_of_another_cluster_is_refused() -> None:
    with pytest.raises(PermissionDenied):
        signer(bytes(KEY_BYTES)).principal(REQUEST, TOKEN)


def test_a_token_ends_after_a_minute() -> None:
    assert signer(at=BEGIN + VALID_SECONDS - 1).principal(REQUEST, TOKEN) == READER
    with pytest.raises(PermissionDenied, match="older than 60 s"):
        signer(at=BEGIN + VALID_SECONDS).principal(REQUEST, TOKEN)


def changed_grants() -> list[bytes]:
    """With a later end, another name, more permissions: the signature is that of the old one."""
    grant, _, signature = TOKEN.partition(b".")
    fields = msgspec.json.decode(base64.urlsafe_b64decode(grant + b"=="))
    changes = [(0, fields[0] + 9), (1, "root"), (3, "admin"), (4, fields[4] | int(Permission.PUT))]
    grants = [[*fields[:place], value, *fields[place + 1 :]] for place, value in changes]
    return [
        base64.urlsafe_b64encode(msgspec.json.encode(each)).rstrip(b"=") + b"." + signature for each in grants
    ]


@pytest.mark.parametrize("token", changed_grants())
def test_whom_a_token_names_cannot_be_changed(token: bytes) -> None:
    with pytest.raises(PermissionDenied):
        signer().principal(REQUEST, token)


@pytest.mark.parametrize("length", range(len(TOKEN)))
def test_a_token_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(PermissionDenied):
        signer().principal(REQUEST, TOKEN[:length])


@pytest.mark.parametrize(
    "token",
    [
        TOKEN + TOKEN,
        TOKEN + b"&shoal-redirect=" + TOKEN,
        TOKEN + b"=",
        TOKEN.replace(b".", b""),
        b"." + TOKEN,
        b"\xff\x00" * 20,
        TOKEN + b"A" * TOKEN_BYTES_MAX,
        b"A" * (1 << 20),
    ],
)
def test_what_only_resembles_a_token_is_refused(token: bytes) -> None:
    with pytest.raises(PermissionDenied):
        signer().principal(REQUEST, token)


@pytest.mark.parametrize("position", range(0, len(TOKEN), 7))
def test_a_token_with_one_letter_changed_is_refused(position: int) -> None:
    letter = b"A" if TOKEN[position : position + 1] != b"A" else b"B"
    with pytest.raises(PermissionDenied):
        signer().principal(REQUEST, TOKEN[:position] + letter + TOKEN[position + 1 :])


@pytest.mark.parametrize("query", [b"", b"a=b", b"a=b&", b"&", b"a=%26&b", b"shoal-redirect=x&a=b"])
def test_a_query_comes_back_as_it_was(query: bytes) -> None:
    assert split_token(with_token(query, TOKEN)) == (query, TOKEN)


@pytest.mark.parametrize(
    "query", [b"", b"a=b", b"shoal-redirect=x&a=b", b"a=shoal-redirect=x", b"shoal-redirect"]
)
def test_a_query_without_a_token_at_its_end_stays_whole(query: bytes) -> None:
    assert split_token(query) == (query, None)


async def test_all_nodes_get_the_key_of_the_one_that_came_first(etcd: EtcdClient) -> None:
    keys = await asyncio.gather(*(redirect_key(etcd) for _ in range(8)))
    assert len(set(keys)) == 1
    assert len(keys[0]) == KEY_BYTES
    assert await redirect_key(etcd) == keys[0]


async def test_each_cluster_has_a_key_of_its_own(etcd: EtcdClient) -> None:
    first = await redirect_key(etcd)
    await etcd.delete(SECRET_KEY)
    assert await redirect_key(etcd) != first


async def test_what_is_no_key_is_not_signed_with(etcd: EtcdClient) -> None:
    await etcd.put(SECRET_KEY, b"short")
    with pytest.raises(ConfigurationError, match="delete it"):
        await redirect_key(etcd)
