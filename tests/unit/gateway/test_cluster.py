"""The cluster's map, health and nodes as AIStore's clients see them; paths that lead nowhere."""

from __future__ import annotations

import json

import pytest
from aistore.sdk.types import Smap

from support.asgi import HOST, Asking


async def test_the_map_shows_every_node_at_the_address_that_the_client_used(ask: Asking) -> None:
    body = (await ask("GET", "/v1/daemon?what=smap")).body
    smap = Smap.model_validate_json(body)
    assert smap.proxy_si.public_net is not None
    assert smap.proxy_si.public_net.direct_url == f"http://{HOST}"
    assert set(smap.tmap) == {"t1"}
    assert smap.get_target_for_object("ais/@#/b/o").public_net == smap.proxy_si.public_net
    assert isinstance(json.loads(body)["version"], str)


async def test_the_digest_of_a_node_is_as_aistore_computes_it(ask: Asking) -> None:
    from aistore.sdk.utils import get_digest

    smap = json.loads((await ask("GET", "/v1/daemon?what=smap")).body)
    assert smap["tmap"]["t1"]["id_digest"] == get_digest("t1")


@pytest.mark.parametrize("query", ["", "?readiness=true", "?prr=True"])
async def test_a_whole_cluster_is_healthy(ask: Asking, query: str) -> None:
    assert (await ask("GET", f"/v1/health{query}")).status == 200


async def test_the_bucket_map_holds_the_buckets(ask: Asking) -> None:
    bmd = json.loads((await ask("GET", "/v1/daemon?what=bmd")).body)
    assert bmd["providers"]["ais"][""]["b"]["provider"] == "ais"


async def test_clients_see_that_no_authentication_is_needed(ask: Asking) -> None:
    config = json.loads((await ask("GET", "/v1/cluster?what=cluster_config")).body)
    assert config["auth"]["enabled"] is False


async def test_the_status_of_a_node_is_given_by_its_id(ask: Asking) -> None:
    url = "/v1/reverse/daemon?what=node_status"
    status = json.loads((await ask("GET", url, headers={"ais-node-id": "t1"})).body)
    # The node of these tests answers nobody.
    assert (status["snode"]["daemon_id"], status["status"]) == ("t1", "offline")
    assert status["ais_version"].startswith("5.0.")
    assert (await ask("GET", url, headers={"ais-node-id": "t9"})).status == 404
    assert (await ask("GET", url)).status == 400


async def test_metrics_are_prometheus_text(ask: Asking) -> None:
    answer = await ask("GET", "/-/metrics")
    assert answer.status == 200
    assert b"shoal_http_requests_total" in answer.body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/daemon?what=tls_certificate", 501),
        ("GET", "/v1/daemon?what=nonsense", 400),
        ("GET", "/v1/daemon", 400),
        ("GET", "/v1/cluster?what=getxstats", 400),
        ("PUT", "/v1/cluster", 400),
        ("PUT", "/v1/cluster/attach", 501),
        ("PUT", "/v1/cluster/proxy/p1", 501),
        ("PATCH", "/v1/cluster", 405),
        ("GET", "/v1/etl", 501),
        ("POST", "/v1/download", 501),
        ("GET", "/v1/nonsense", 404),
        ("POST", "/v1/health", 405),
    ],
)
async def test_what_is_not_here_says_so(ask: Asking, method: str, path: str, status: int) -> None:
    answer = await ask(method, path)
    assert (answer.status, answer.error["status"]) == (status, status)
    assert answer.error["method"] == method


async def test_foreign_hosts_and_origins_are_403_on_every_surface(ask: Asking) -> None:
    for path in ("/v1/objects/b/o", "/v1/buckets", "/v1/health", "/-/metrics", "/nothing"):
        assert (await ask("GET", path, headers={"host": "evil.example"})).status == 403
        assert (await ask("GET", path, headers={"origin": "http://evil.example"})).status == 403
