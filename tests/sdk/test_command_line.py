"""The requests of the official `ais` CLI 1.32 that the SDK does not send, each as it comes over the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from aistore.sdk.bucket import Bucket

QUERY = "provider=ais&namespace="


@dataclass(frozen=True)
class Sent:
    """`path` below `/v1/`; `{bucket}` is a bucket with an object `o`."""

    method: str
    path: str
    action: str = ""
    value: Any = None
    node: str = ""
    body: Any = None


READS = [
    *(Sent("GET", f"daemon?what={what}") for what in ("smap", "bmd", "config", "snode", "sysinfo", "node_status")),
    *(
        Sent("GET", f"reverse/daemon?what={what}", node="t1")
        for what in (
            "smap", "bmd", "config", "snode", "sysinfo", "node_status", "node_stats", "mountpaths", "metrics", "disk",
            "log", "software_version",
        )
    ),
    *(
        Sent("GET", f"cluster?what={what}")
        for what in ("cluster_config", "sysinfo", "mountpaths", "remote", "backends", "node_stats", "target_ips")
    ),
    *(
        Sent("GET", f"cluster?what={what}", body={"id": "", "kind": "lru", "bck": {}, "node": "", "show_active": None})
        for what in ("qryxstats", "status_all", "running_all")
    ),
    Sent("GET", "health?readiness=true"),
    Sent("GET", "health?prr=true"),
    Sent("GET", f"buckets?{QUERY}&presence=0", "list"),
    Sent("GET", f"buckets/{{bucket}}?{QUERY}", "list", {"props": "name,size", "flags": "32", "pagesize": 0}),
    Sent("GET", f"buckets/{{bucket}}?{QUERY}", "list", {"flags": "2048", "target": "", "sid": "", "time_format": ""}),
    Sent("GET", f"buckets/{{bucket}}?{QUERY}", "list", {"flags": "4", "target": "t1", "time_format": "15:04:05.000"}),
    Sent("HEAD", f"buckets/{{bucket}}?{QUERY}&presence=3"),
    Sent("HEAD", f"objects/{{bucket}}/o?{QUERY}&presence=2&silent=true"),
    Sent("HEAD", f"objects/{{bucket}}/o?{QUERY}&props=size"),
    Sent("PATCH", f"buckets/{{bucket}}?{QUERY}", "set-bprops", {"versioning": {"enabled": True}, "force": False}),
    Sent("PATCH", f"buckets/{{bucket}}?{QUERY}", "reset-bprops"),
    Sent("PUT", "cluster?versioning.enabled=false", "set-config", {"versioning": {"enabled": False}}),
    Sent("PUT", "cluster", "reset-config"),
    Sent("PUT", "cluster", "rotate-logs"),
    Sent("PUT", "reverse/daemon", "rotate-logs", node="t1"),
    Sent("PUT", "cluster", "reset-stats", False),
    Sent("PUT", "cluster", "reset-stats", True),
    Sent("PUT", "reverse/daemon", "reset-stats", False, node="t1"),
    Sent("PUT", "daemon", "reset-stats", False),
    Sent("PUT", "cluster", "start", {"id": "", "kind": "lru", "bck": {}, "buckets": [], "force": False}),
    Sent("PUT", "cluster", "stop", {"id": "", "kind": "lru", "bck": {}}),
    Sent("DELETE", f"objects/{{bucket}}/o?{QUERY}"),
]  # fmt: skip

NOT_BUILT = [
    *(Sent("PUT", "cluster", action, {"sid": "t1"}) for action in (
        "decommission-node", "shutdown-node", "shutdown", "decommission", "reload-creds", "clear-lcache",
    )),
    *(Sent("PUT", f"cluster/{path}") for path in ("attach", "detach", "enable-bend", "disable-bend", "load-x509")),
    Sent("PUT", "cluster/proxy/p1"),
    Sent("POST", "cluster/join-by-admin", body={}),
    Sent("PUT", "cluster?transient=true", "set-config", {"versioning": {"enabled": True}}),
    Sent("PUT", "daemon", "set-config", {}),
    Sent("PUT", "reverse/daemon", "set-config", {}, node="t1"),
    *(Sent("POST", "reverse/daemon/mountpaths", action, "/x", node="t1") for action in ("rescan-mp", "fshc-mp")),
    Sent("PUT", "reverse/daemon/mountpaths", "attach-mp", "/x", node="t1"),
    Sent("DELETE", "reverse/daemon/mountpaths", "detach-mp", "/x", node="t1"),
    *(Sent("GET", f"daemon?what={what}") for what in ("tls_certificate", "ic_bundle")),
    *(Sent("POST", f"buckets/{{bucket}}?{QUERY}", action, {}) for action in (
        "make-n-copies", "ec-encode", "index-shard", "create-inventory", "prefetch-listrange", "etl-bck",
        "etl-listrange", "add-remote-bck",
    )),
    *(Sent("DELETE", f"buckets/{{bucket}}?{QUERY}", action, {}) for action in (
        "evict-remote-bck", "evict-listrange", "destroy-inventory",
    )),
    *(Sent("GET", f"buckets/{{bucket}}?{QUERY}", action, {}) for action in ("summary-shard", "show-inventory")),
    Sent("POST", f"objects/{{bucket}}?{QUERY}", "blob-download", {}),
    Sent("POST", f"objects/{{bucket}}/o?{QUERY}", "check-lock"),
    *(Sent(method, path, body={}) for method, path in (
        ("POST", "download"), ("GET", "download"), ("DELETE", "download/abort"), ("DELETE", "download/remove"),
        ("POST", "sort"), ("GET", "sort"), ("DELETE", "sort/abort"), ("PUT", "etl"), ("GET", "etl/some-etl"),
        ("POST", "etl/some-etl/start"), ("POST", "etl/some-etl/stop"), ("DELETE", "etl/some-etl"),
        ("GET", "etl/some-etl/logs"), ("GET", "etl/some-etl/health"), ("GET", "etl/some-etl/metrics"),
        ("DELETE", "tokens"), ("GET", "users"), ("GET", "roles"), ("GET", "clusters"),
    )),
]  # fmt: skip

Send = Callable[[Sent], requests.Response]


@pytest.fixture
def send(endpoint: str, bucket: Bucket) -> Send:
    bucket.object("o").get_writer().put_content(b"x")

    def ask(sent: Sent) -> requests.Response:
        body = {"action": sent.action, "name": "", "value": sent.value} if sent.action else sent.body
        url = f"{endpoint}/v1/{sent.path.replace('{bucket}', bucket.name)}"
        headers = {"User-Agent": "ais/cli/1.32", **({"Ais-Node-Id": sent.node} if sent.node else {})}
        return requests.request(
            sent.method, url, json=body, headers=headers, timeout=20, allow_redirects=True
        )

    return ask


def test_what_the_command_line_asks_is_answered(send: Send) -> None:
    for sent in READS:
        answer = send(sent)
        assert answer.status_code in (200, 204), (sent, answer.text)


def test_what_is_not_built_is_501_with_a_sentence(send: Send) -> None:
    for sent in NOT_BUILT:
        answer = send(sent)
        assert answer.status_code == 501, (sent, answer.text)
        told = answer.json()
        assert (told["tcode"], "not built" in told["message"]) == ("ErrNotImpl", True), (sent, told)


def test_one_job_is_told_of_by_its_id(endpoint: str, send: Send) -> None:
    job = send(Sent("PUT", "cluster", "start", {"kind": "lru"})).text
    for answer in (
        send(Sent("GET", f"cluster?what=getxstats&uuid={job}")),
        send(Sent("GET", "cluster?what=getxstats", body={"ID": job})),
    ):
        assert {snap["id"] for snaps in answer.json().values() for snap in snaps} == {job}
    assert send(Sent("GET", "cluster?what=getxstats&uuid=none")).status_code == 404
    assert send(Sent("GET", "cluster?what=getxstats")).status_code == 400


def test_jobs_of_one_bucket_are_asked_for_and_others_stay(send: Send, bucket: Bucket) -> None:
    copies = f"{bucket.name}-copies"
    query = f"{QUERY}&bck_to=ais/@%23/{copies}/"
    job = send(Sent("POST", f"buckets/{{bucket}}?{query}", "copy-bck", {})).text
    for name, found in ((bucket.name, {job}), (copies, {job}), ("no-such-bucket", set())):
        asked = {
            "kind": "copy-bucket",
            "bck": {"name": name, "provider": "ais", "namespace": {"uuid": "", "name": ""}},
        }
        answer = send(Sent("GET", "cluster?what=qryxstats", body=asked))
        assert {snap["id"] for snaps in answer.json().values() for snap in snaps} == found, name
    other = {"kind": "copy-bck", "bck": {"name": "no-such-bucket"}}
    assert send(Sent("PUT", "cluster", "stop", other)).status_code == 404
    assert send(Sent("DELETE", f"buckets/{copies}?{QUERY}", "destroy-bck")).status_code == 200
