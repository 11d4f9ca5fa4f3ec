"""A client is sent to the gateway beside the owner, and served there as the one whom the first gateway verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import quote

import pytest

from shoal_core.access import READ_ONLY, Principal
from shoal_core.cluster_map import ClusterMap, Member, MemberRole
from shoal_core.redirects import FIELD, KEY_BYTES, VALID_SECONDS, RedirectSigner, SignedRequest
from shoal_gateway.app import GatewayApplication
from shoal_gateway.guard import LocalGuard
from shoal_gateway.parts import Parts
from shoal_gateway.redirecting import Redirecting
from support.asgi import Answer, Asking

KEY = b"k" * KEY_BYTES
THERE = "http://there.example:51080"
URL = "/v1/objects/b/o"
EXPECT = {"expect": "100-continue"}
READER = Principal("reader", "user", "guest", READ_ONLY)


class Gateways(NamedTuple):
    """`first` is asked; the owner is on the host of `second`."""

    first: Asking
    second: Asking
    clock: list[float]


def member(member_id: str, role: MemberRole, host_id: str, *, alive: bool = True) -> Member:
    url = THERE if host_id == "there" else "http://here.example:51080"
    return Member(member_id, role, alive=alive, host_id=host_id, weight=1.0, http_url=url)


CLUSTER = ClusterMap(
    "test-cluster",
    17,
    1,
    (
        member("g1", MemberRole.GATEWAY, "here"),
        member("g2", MemberRole.GATEWAY, "there"),
        member("t1", MemberRole.TARGET, "there"),
    ),
)


class Setting(NamedTuple):
    """Makes gateways of one cluster."""

    parts: Parts
    clock: list[float]

    def gateway(
        self, host_id: str, *, cluster: ClusterMap = CLUSTER, on: bool = True, key: bytes | None = KEY
    ) -> Asking:
        redirecting = Redirecting(
            lambda: cluster, host_id=host_id, redirect_clients=on, now=lambda: self.clock[0]
        )
        if key is not None:
            redirecting.use_key(key)
        application = GatewayApplication(
            replace(self.parts, host_id=host_id),
            LocalGuard(port=51080),
            requests_max=8,
            idle_timeout_seconds=5,
            redirecting=redirecting,
        )
        return Asking(application)


@pytest.fixture
def setting(parts: Parts) -> Setting:
    return Setting(parts, [1_700_000_000.0])


@pytest.fixture
async def gateways(setting: Setting) -> Gateways:
    gateways = Gateways(setting.gateway("here"), setting.gateway("there"), setting.clock)
    assert (await gateways.second("PUT", URL, body=b"0123456789")).status == 200
    return gateways


def target_of(answer: Answer) -> str:
    assert answer.status == 307
    assert (answer.body, answer.headers["content-length"]) == (b"", "0")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"].startswith(f"{THERE}/v1/objects/b/")
    return answer.headers["location"].removeprefix(THERE)


async def redirected(gateways: Gateways, method: str = "GET", target: str = URL) -> str:
    headers = EXPECT if method == "PUT" else {}
    return target_of(await gateways.first(method, target, headers=headers))


async def test_a_get_is_served_beside_the_owner(gateways: Gateways) -> None:
    target = await redirected(gateways)
    assert (await gateways.second("GET", target)).body == b"0123456789"
    ranged = await gateways.second("GET", target, headers={"range": "bytes=2-4"})
    assert (ranged.status, ranged.body) == (206, b"234")


@pytest.mark.parametrize("query", ["provider=ais", "provider=ais&latest-ver=False", "&", "a=b&"])
async def test_the_query_stays_as_it_was(gateways: Gateways, query: str) -> None:
    target = await redirected(gateways, target=f"{URL}?{query}")
    assert target.startswith(f"{URL}?{query}&{FIELD}=")
    assert (await gateways.second("GET", target)).status == 200


async def test_a_query_of_as_many_fields_as_may_be_is_served_there_too(gateways: Gateways) -> None:
    query = "&".join(f"f{number}=1" for number in range(64))
    assert (await gateways.second("GET", await redirected(gateways, target=f"{URL}?{query}"))).status == 200


@pytest.mark.parametrize(
    "name", ["%", "%2F", "a b+c", "track?name=x", "x#y", "\u4f60\u597d", "trailing/", "..a"]
)
async def test_names_stay_as_they_were(gateways: Gateways, name: str) -> None:
    url = f"/v1/objects/b/{quote(name, safe='')}"
    assert (await gateways.first("PUT", url, body=name.encode())).status == 200
    assert (await gateways.second("GET", await redirected(gateways, target=url))).body == name.encode()


@pytest.mark.parametrize("path", ["/v1/objects/b/a/../o", "/v1/objects/b/..", "/v1/objects/b/\u00c3\u00a9"])
async def test_what_clients_rewrite_is_not_redirected(gateways: Gateways, path: str) -> None:
    assert (await gateways.first("GET", path)).status == 404


async def test_a_put_is_redirected_before_its_body(gateways: Gateways) -> None:
    answer = await gateways.first("PUT", URL, headers=EXPECT, body=b"abc")
    assert answer.headers["connection"] == "close"
    assert (await gateways.second("PUT", target_of(answer), headers=EXPECT, body=b"abc")).status == 200
    assert (await gateways.second("GET", URL)).body == b"abc"


async def test_a_put_whose_body_is_under_way_is_relayed(gateways: Gateways) -> None:
    assert (await gateways.first("PUT", URL, body=b"abc")).status == 200


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
async def test_what_has_no_bytes_is_relayed(gateways: Gateways, method: str) -> None:
    assert (await gateways.first(method, URL, headers=EXPECT)).status == 200


@pytest.mark.parametrize(("method", "url"), [("GET", "/s3/b/o"), ("GET", "/b/o"), ("GET", "/v1/buckets")])
async def test_nothing_else_is_redirected(gateways: Gateways, method: str, url: str) -> None:
    assert (await gateways.first(method, url)).status != 307


async def test_unknown_buckets_are_not_found_at_the_first_gateway(gateways: Gateways) -> None:
    answer = await gateways.first("GET", "/v1/objects/none/o")
    assert (answer.status, answer.error["tcode"]) == (404, "ErrBckNotFound")


async def test_the_host_and_origin_are_checked_all_the_same(gateways: Gateways) -> None:
    target = await redirected(gateways)
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        assert (await gateways.second("GET", target, headers=headers)).status == 403


async def test_a_token_is_good_for_a_minute(gateways: Gateways) -> None:
    target = await redirected(gateways)
    gateways.clock[0] += VALID_SECONDS - 1
    assert (await gateways.second("GET", target)).status == 200
    gateways.clock[0] += 1
    answer = await gateways.second("GET", target)
    assert (answer.status, answer.error["tcode"]) == (403, "ErrPermissionDenied")
    assert "older than 60 s" in answer.error["message"]


def other_object(target: str) -> str:
    return target.replace("/o?", "/other?")


def other_bucket(target: str) -> str:
    return target.replace("/b/", "/c/")


def other_query(target: str) -> str:
    return target.replace("?", "?provider=ais&")


def other_route(target: str) -> str:
    return target.replace("/v1/objects/b/o", "/v1/buckets")


def cut(target: str) -> str:
    return target[:-1]


def emptied(target: str) -> str:
    return target.partition("=")[0] + "="


def doubled(target: str) -> str:
    return f"{target}&{target.partition('?')[2]}"


def not_last(target: str) -> str:
    return f"{target}&provider=ais"


def escaped(target: str) -> str:
    return target.replace("shoal-redirect", "shoal%2Dredirect")


def absurdly_long(target: str) -> str:
    return target + "A" * 50_000


@pytest.mark.parametrize(
    "changed",
    [
        other_object, other_bucket, other_query, other_route, cut, emptied, doubled, not_last, escaped,
        absurdly_long,
    ],
)  # fmt: skip
async def test_a_changed_redirect_is_refused(gateways: Gateways, changed: Callable[[str], str]) -> None:
    answer = await gateways.second("GET", changed(await redirected(gateways)))
    assert (answer.status, answer.error["tcode"]) == (403, "ErrPermissionDenied")
    assert FIELD in answer.error["message"]


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "POST"])
async def test_the_redirect_of_a_get_is_good_for_nothing_else(gateways: Gateways, method: str) -> None:
    answer = await gateways.second(method, await redirected(gateways))
    assert answer.status == 403
    assert (await gateways.first("HEAD", URL)).status == 200


async def test_a_redirect_of_another_cluster_is_refused(gateways: Gateways, setting: Setting) -> None:
    stranger = setting.gateway("there", key=bytes(KEY_BYTES))
    assert (await stranger("GET", await redirected(gateways))).status == 403


async def test_a_reader_stays_a_reader(gateways: Gateways, setting: Setting) -> None:
    signer = RedirectSigner(KEY, now=lambda: setting.clock[0])
    tokens = {
        method: signer.token(SignedRequest(method, URL.encode(), b""), READER).decode()
        for method in ("GET", "PUT")
    }
    assert (await gateways.second("GET", f"{URL}?{FIELD}={tokens['GET']}")).status == 200
    assert (await gateways.second("PUT", f"{URL}?{FIELD}={tokens['GET']}", body=b"x")).status == 403
    answer = await gateways.second("PUT", f"{URL}?{FIELD}={tokens['PUT']}", body=b"x")
    assert (answer.status, "reader may not" in answer.error["message"]) == (403, True)


async def test_nobody_is_redirected_twice(gateways: Gateways, setting: Setting) -> None:
    """Two gateways whose maps differ would otherwise send the client back and forth."""
    elsewhere = tuple(
        replace(each, host_id={"here": "there", "there": "here"}[each.host_id]) for each in CLUSTER.members
    )
    behind = setting.gateway("there", cluster=replace(CLUSTER, members=elsewhere))
    assert (await behind("GET", URL)).status == 307
    assert (await behind("GET", await redirected(gateways))).status == 200


async def test_a_gateway_that_does_not_redirect_serves_whom_others_sent(
    gateways: Gateways, setting: Setting
) -> None:
    plain = setting.gateway("there", on=False)
    assert (await plain("GET", await redirected(gateways))).status == 200


async def test_without_a_gateway_alive_beside_the_owner_bytes_are_relayed(
    gateways: Gateways, setting: Setting
) -> None:
    assert await redirected(gateways)
    members = [replace(each, alive=each.id != "g2") for each in CLUSTER.members]
    alone = setting.gateway("here", cluster=replace(CLUSTER, members=tuple(members)))
    assert (await alone("GET", URL)).status == 200


@pytest.mark.parametrize("settings", [{"on": False}, {"key": None}])
async def test_without_being_told_or_without_a_key_bytes_are_relayed(
    gateways: Gateways, setting: Setting, settings: dict[str, bool | None]
) -> None:
    assert await redirected(gateways)
    assert (await setting.gateway("here", **settings)("GET", URL)).status == 200  # type: ignore[arg-type]


async def test_without_a_key_a_redirect_is_answered_later(gateways: Gateways, setting: Setting) -> None:
    answer = await setting.gateway("there", key=None)("GET", await redirected(gateways))
    assert (answer.status, answer.error["tcode"]) == (503, "ErrControlPlaneDown")


async def test_the_owners_own_host_redirects_nobody(gateways: Gateways) -> None:
    assert (await gateways.second("GET", URL)).status == 200
