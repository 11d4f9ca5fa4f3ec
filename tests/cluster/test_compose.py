"""docker-compose.yml: its commands, with its environment, make a cluster that serves and that ends in order."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest
import requests
from botocore.config import Config

from shoal_core.s3_keys import DEFAULT_REGION, read_key
from support.compose import ComposeProcesses

BODY = bytes(range(256)) * 800


@pytest.fixture(scope="module")
def processes() -> Iterator[ComposeProcesses]:
    with ComposeProcesses() as processes:
        processes.start()
        yield processes


@pytest.fixture(scope="module")
def url(processes: ComposeProcesses) -> str:
    """The one port of all gateways, with a bucket behind it."""
    url = f"http://{processes.address('door', 51080)}"
    answer = requests.post(f"{url}/v1/buckets/first", json={"action": "create-bck"}, timeout=10)
    assert answer.status_code == 200
    return url


def test_an_object_put_through_a_gateway_is_got_through_a_gateway(url: str) -> None:
    for number in range(12):
        path = f"{url}/v1/objects/first/rest/{number}"
        assert requests.put(path, data=BODY, timeout=10).status_code == 200
        assert requests.get(path, timeout=10).content == BODY


def test_all_targets_get_their_share(url: str, processes: ComposeProcesses) -> None:
    members = requests.get(f"{url}/v1/daemon?what=smap", timeout=10).json()["tmap"]
    assert sorted(members) == ["target-1", "target-2", "target-3"]
    for node in ("node-1", "node-2", "node-3"):
        assert any((processes.folder / node).glob("mp*/data/*/*")), node


def test_s3_works_with_the_key_that_was_made(url: str, processes: ComposeProcesses) -> None:
    key = read_key(processes.folder / "certificates" / "s3-administrator.json")
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        region_name=DEFAULT_REGION,
        config=Config(retries={"total_max_attempts": 1}),
    )
    s3.put_object(Bucket="first", Key="s3", Body=BODY)
    assert s3.get_object(Bucket="first", Key="s3")["Body"].read() == BODY
    s3.close()


@pytest.mark.usefixtures("url")
def test_the_command_line_of_the_file_reaches_proxy_and_targets(processes: ComposeProcesses) -> None:
    processes.run("cli", "put", "-", "ais://first/cli", stdin=BODY)
    assert processes.run("cli", "cat", "ais://first/cli") == BODY


def test_a_gateway_that_died_is_not_healthy_and_the_port_still_answers(
    url: str, processes: ComposeProcesses
) -> None:
    processes.running["gateway-2"].kill()
    processes.running["gateway-2"].wait()
    assert not processes.is_healthy("gateway-2")
    assert all(requests.get(f"{url}/v1/health", timeout=10).status_code == 200 for _ in range(10))
    processes.launch("gateway-2")
    processes.wait_until_healthy("gateway-2")


def test_etcd_knows_every_variable_that_is_set_for_it(processes: ComposeProcesses) -> None:
    words = "\n".join(processes.log(f"etcd-{number}") for number in (1, 2, 3))
    assert "unrecognized environment variable" not in words


def test_one_more_start_makes_no_certificate_anew(processes: ComposeProcesses) -> None:
    assert processes.run("certificates") == b"nothing to do\n"


def test_at_the_end_every_process_ends_by_itself(processes: ComposeProcesses) -> None:
    ready = json.loads((processes.folder / "run-proxy-1" / "ready").read_text())
    assert ready["pid"] == processes.running["proxy-1"].pid
    codes = processes.stop()
    assert {code for name, code in codes.items() if not name.startswith("etcd")} == {0}
