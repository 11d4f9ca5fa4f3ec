"""`Client.cluster()` of the official SDK."""

from __future__ import annotations

import pytest
from aistore import Client
from aistore.sdk.errors import AISError


def test_the_cluster_is_ready(client: Client) -> None:
    assert client.cluster().is_ready()


def test_the_map_names_the_gateway_as_primary(client: Client, endpoint: str) -> None:
    info = client.cluster().get_info()
    assert client.cluster().get_primary_url() == endpoint
    assert info.proxy_si.public_net is not None
    assert len(info.tmap) in (1, 2, 3)
    assert client.cluster().get_uuid() == info.uuid != ""


def test_performance_has_an_entry_for_each_target(client: Client) -> None:
    performance = client.cluster().get_performance()
    assert set(performance) == set(client.cluster().get_info().tmap)
    for status in performance.values():
        assert status["status"] == "online"
        assert len(status["capacity"]["mountpaths"]) == 2


def test_jobs_and_etl_say_that_they_are_not_built(client: Client) -> None:
    for ask in (client.cluster().list_jobs_status, client.cluster().list_etls):
        with pytest.raises(AISError) as error:
            ask()
        assert (error.value.status_code, "not built" in error.value.message) == (501, True)
