"""Redirects between the gateways of two hosts, as real clients follow them. The official SDK's tests run there too."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator

import pytest
import requests
from aistore import Client

from support.other_host import START_SECONDS_MAX, TwoHosts, can_make_hosts
from support.workload import wait_until

NUMBERS = itertools.count()
BODY = os.urandom(300_000)


@pytest.fixture
def bucket(two_hosts: TwoHosts) -> str:
    """The path of a new one."""
    name = f"redirects-{next(NUMBERS)}"
    url = f"{two_hosts.endpoint}/v1/buckets/{name}"
    assert requests.post(url, json={"action": "create-bck"}, timeout=10).status_code == 200
    return f"/v1/objects/{name}"


def foreign_object(hosts: TwoHosts, bucket: str) -> str:
    """The path of a new object whose owner is on the second host."""
    for number in itertools.count():
        path = f"{bucket}/{number}"
        assert requests.put(hosts.url("g1") + path, data=BODY, timeout=10).status_code == 200
        if first_answer(hosts.url("g1") + path).status_code == 307:
            return path
    raise AssertionError("unreachable")


def first_answer(url: str) -> requests.Response:
    return requests.get(url, allow_redirects=False, timeout=10)


def test_an_object_is_served_by_the_gateway_of_its_owners_host(two_hosts: TwoHosts, bucket: str) -> None:
    path = foreign_object(two_hosts, bucket)
    location = first_answer(two_hosts.url("g1") + path).headers["location"]
    assert location.startswith(two_hosts.url("g2") + path)
    assert first_answer(location).content == BODY
    assert first_answer(two_hosts.url("g2") + path).content == BODY


def test_each_object_is_redirected_by_exactly_one_of_two_gateways(two_hosts: TwoHosts, bucket: str) -> None:
    answers = []
    for number in range(16):
        path = f"{bucket}/{number}"
        assert requests.put(two_hosts.url("g2") + path, data=BODY, timeout=10).status_code == 200
        answers.append([first_answer(two_hosts.url(gateway) + path).status_code for gateway in ("g1", "g2")])
    assert sorted(set(map(tuple, answers))) == [(200, 307), (307, 200)]


def test_the_redirect_of_one_object_opens_no_other(two_hosts: TwoHosts, bucket: str) -> None:
    path = foreign_object(two_hosts, bucket)
    location = first_answer(two_hosts.url("g1") + path).headers["location"]
    assert requests.put(location, data=b"other", timeout=10).status_code == 403
    answer = first_answer(location.replace(path, f"{path}0"))
    assert (answer.status_code, answer.json()["tcode"]) == (403, "ErrPermissionDenied")
    assert first_answer(location).content == BODY


def redirect_count(hosts: TwoHosts) -> float:
    """Answers 307 to GETs of objects, by `g1` since its start."""
    text = requests.get(f"{hosts.endpoint}/-/metrics", timeout=10).text
    counts = re.findall(
        r'^shoal_http_requests_total\{method="GET",status="307",surface="objects"\} (\S+)', text, re.M
    )
    return float(counts[0])


def test_the_official_sdk_follows(two_hosts: TwoHosts) -> None:
    bucket = Client(two_hosts.endpoint).bucket(f"redirects-{next(NUMBERS)}").create()
    before = redirect_count(two_hosts)
    for number in range(16):
        bucket.object(f"a b+{number}%").get_writer().put_content(BODY)
        assert bucket.object(f"a b+{number}%").get_reader().read_all() == BODY
        assert bucket.object(f"a b+{number}%").get_reader(byte_range="bytes=-6").read_all() == BODY[-6:]
    assert 0 < redirect_count(two_hosts) - before < 32


def test_curl_puts_a_stream_that_it_cannot_send_twice(two_hosts: TwoHosts, bucket: str) -> None:
    url = two_hosts.url("g1") + foreign_object(two_hosts, bucket)
    words = ["curl", "-sS", "-L", "-H", "Expect: 100-continue", "--expect100-timeout", "60", "-T", "-"]
    words += ["-o", "/dev/null", "-w", "%{http_code} %{num_redirects}", url]
    told = subprocess.run(words, input=BODY[::-1], capture_output=True, check=True)
    assert told.stdout == b"200 1"
    assert requests.get(url, timeout=10).content == BODY[::-1]


@pytest.fixture
def breakable_hosts() -> Iterator[TwoHosts]:
    if not can_make_hosts():
        pytest.skip("may make no namespaces here, and so no second host")
    with TwoHosts() as hosts:
        yield hosts


def test_a_gateway_that_started_without_etcd_relays_until_it_has_the_key(breakable_hosts: TwoHosts) -> None:
    hosts, gateway = breakable_hosts, breakable_hosts.process("g1")
    path = foreign_object(hosts, "/v1/objects/probe")
    hosts.nodes.etcd.kill()
    assert gateway.stop() == 0
    gateway.start()
    assert first_answer(hosts.url("g1") + path).content == BODY
    hosts.nodes.etcd.start()
    wait_until(lambda: hosts.redirects("g1"), START_SECONDS_MAX, "redirects again")
    assert requests.get(hosts.url("g1") + path, timeout=10).content == BODY
