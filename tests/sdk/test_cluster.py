"""`Client.cluster()` of the official SDK."""

from __future__ import annotations

import io
import re
import tarfile

import pytest
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.enums import LogSeverity, NodeFilter
from aistore.sdk.errors import AISError

from support.waiting import eventually


def test_the_cluster_is_ready(client: Client) -> None:
    assert client.cluster().is_ready()


def test_the_map_names_the_gateway_as_primary(client: Client, endpoint: str) -> None:
    info = client.cluster().get_info()
    assert client.cluster().get_primary_url() == endpoint
    assert info.proxy_si.public_net is not None
    assert len(info.tmap) in (1, 2, 3)
    assert client.cluster().get_uuid() == info.uuid != ""


def test_performance_has_an_entry_for_each_target(client: Client, bucket: Bucket) -> None:
    for number in range(20):
        bucket.object(str(number)).get_writer().put_content(b"x")
    performance = client.cluster().get_performance()
    assert set(performance) == set(client.cluster().get_info().tmap)
    for status in performance.values():
        assert (status["status"], status["ais_version"][:4]) == ("online", "5.0.")
        capacity = status["capacity"]
        assert len(capacity["mountpaths"]) in (1, 2)
        assert all(int(each["used"]) > 0 for each in capacity["mountpaths"].values())
        assert int(capacity["total_avail"]) > 0
        assert status["sys_info"]["mem_used"] > 0
        assert int(status["tracker"]["up.ns.time"]["v"]) > 0
    assert sum(int(status["tracker"]["put.n"]["v"]) for status in performance.values()) >= 20


def counted(client: Client, name: str) -> int:
    performance = client.cluster().get_performance()
    return sum(int(status["tracker"][name]["v"]) for status in performance.values())


async def test_performance_counts_what_gateways_read(client: Client, bucket: Bucket) -> None:
    small, large = bucket.object("small"), bucket.object("large")
    small.get_writer().put_content(b"x" * 100)
    large.get_writer().put_content(b"x" * 2_000_000)
    reads, read_bytes, put_bytes = (
        counted(client, "get.n"),
        counted(client, "get.size"),
        counted(client, "put.size"),
    )
    for _ in range(5):
        small.get_reader().read_all()
        large.get_reader().read_all()
    await eventually(lambda: counted(client, "get.n") >= reads + 10)
    await eventually(lambda: counted(client, "get.size") >= read_bytes + 5 * 2_000_100)
    assert put_bytes >= 2_000_100


GRPC_CORE = re.compile(r"[IWEF][0-9]{4} [0-9:.]+ +[0-9]+ \w+\.cc:[0-9]+\] ")
"""How lines begin that the C core of gRPC's library writes beside those of our logging."""


def test_logs_are_read_from_every_node(client: Client) -> None:
    cluster = client.cluster()
    smap = cluster.get_info()
    logs = cluster.get_cluster_logs(role=NodeFilter.ALL)
    assert set(logs) == {*smap.tmap, *smap.pmap}
    spoken = set()
    for node_id, text in logs.items():
        assert all(f'"node": "{node_id}"' in line or GRPC_CORE.match(line) for line in text.splitlines()), (
            text
        )
        assert '"level": "info"' not in cluster.get_node_log(node_id, severity=LogSeverity.ERROR)
        with tarfile.open(fileobj=io.BytesIO(cluster.get_node_log_archive(node_id))) as archive:
            files = [file for entry in archive if (file := archive.extractfile(entry))]
            packed = "".join(file.read().decode() for file in files)
        assert all(line in packed for line in text.splitlines())
        if f'"node": "{node_id}"' in packed:
            spoken.add(node_id)
    # Other tests rotate, some twice: what a quiet node said at its start may be gone.
    assert spoken


def test_a_node_that_is_none_has_no_log(client: Client) -> None:
    with pytest.raises(AISError) as error:
        client.cluster().get_node_log("t99")
    assert (error.value.status_code, "t99" in error.value.message) == (404, True)


def test_etl_says_that_it_is_not_built(client: Client) -> None:
    with pytest.raises(AISError) as error:
        client.cluster().list_etls()
    assert (error.value.status_code, "not built" in error.value.message) == (501, True)
