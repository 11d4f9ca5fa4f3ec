"""Every curl example of the API reference, run as it stands there, and what is to be seen afterwards."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import requests
from fastapi import APIRouter
from fastapi.routing import APIRoute

from shoal_gateway.app import add_routes
from shoal_gateway.documentation.examples import example
from shoal_gateway.documentation.operations import Operation, operations
from shoal_gateway.permissions import OBJECT
from shoal_gateway.rest.documented import Documentation
from support.cluster import Cluster
from support.workload import wait_until

NUMBERS = itertools.count()
ELSEWHERE = frozenset({"start-maintenance"})
"""Tried in `tests/sdk/test_administration.py`: it needs two targets."""
OBJECTS = [f"p-{number}" for number in range(5)]


def documented() -> list[tuple[Operation, str, Documentation]]:
    router = APIRouter()
    add_routes(router, None, None)  # type: ignore[arg-type]
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    return [
        (each, action, said)
        for each in operations(routes)
        for action, said in each.actions.items()
        if action not in ELSEWHERE and each.path not in ELSEWHERE
    ]


class Place:
    """A bucket with objects, a name that is free, and an upload that was begun."""

    def __init__(self, cluster: Cluster, *, made: bool) -> None:
        number = next(NUMBERS)
        self.endpoint = cluster.endpoint
        self.names = {
            "bucket": f"photos-{number}",
            "other": f"copies-{number}",
            "target": "t1",
            "file": "start.js",
            "promote": str(cluster.promote_folder),
            "mountpath": str(cluster.mountpaths()[0]),
        }
        (cluster.promote_folder / "file").write_bytes(b"content")
        if made:
            self.post(f"buckets/{self.names['bucket']}", {"action": "create-bck"})
            for name in OBJECTS:
                self.put(name, name)
            answer = self.post(f"objects/{self.names['bucket']}/parts", {"action": "mpt-upload"})
            self.names["upload"] = answer.text.strip('"')
            self.put(f"parts?uploadId={self.names['upload']}&partNumber=1", "part")

    def post(self, path: str, message: dict[str, Any], *, method: str = "POST") -> requests.Response:
        answer = requests.request(method, f"{self.endpoint}/v1/{path}", json=message, timeout=60)
        answer.raise_for_status()
        return answer

    def put(self, name: str, content: str) -> None:
        url = f"{self.endpoint}/v1/objects/{self.names['bucket']}/{name}"
        requests.put(url, data=content, timeout=60).raise_for_status()

    def order(self, action: str) -> None:
        """Of the mountpath."""
        message = {"action": action, "value": self.names["mountpath"]}
        url = f"{self.endpoint}/v1/reverse/daemon/mountpaths"
        requests.post(url, json=message, headers={"Ais-Node-Id": "t1"}, timeout=60).raise_for_status()

    def disabled(self) -> list[str]:
        url = f"{self.endpoint}/v1/reverse/daemon?what=mountpaths"
        disabled: list[str] = requests.get(url, headers={"Ais-Node-Id": "t1"}, timeout=60).json()["disabled"]
        return disabled

    def listed(self, which: str = "bucket") -> list[str]:
        """What a bucket holds; nothing for one that is not there."""
        answer = requests.get(f"{self.endpoint}/v1/buckets/{self.names[which]}", timeout=60)
        return [entry["name"] for entry in answer.json()["entries"]] if answer.ok else []

    def exists(self, which: str) -> bool:
        return requests.head(f"{self.endpoint}/v1/buckets/{self.names[which]}", timeout=60).ok


def nothing(_: Place) -> None:
    """For an example that needs none."""


def start_job(place: Place) -> None:
    answer = place.post("cluster", {"action": "start", "value": {"Kind": "lru"}}, method="PUT")
    place.names["job"] = answer.text


BEFORE: dict[str, Callable[[Place], None]] = {
    "status": start_job,
    "stop": start_job,
    "getxstats": start_job,
    "enable-mp": lambda place: place.order("disable-mp"),
}
"""What an action's example needs to have something to do."""

UNDO: dict[str, Callable[[Place], None]] = dict.fromkeys(
    ("disable-mp", "enable-mp"), lambda place: place.order("enable-mp")
)
"""Because the cluster is shared; also when the example failed."""

AFTER: dict[tuple[str, str], Callable[[Place], bool]] = {
    ("POST", "create-bck"): lambda place: place.exists("bucket"),
    ("DELETE", "destroy-bck"): lambda place: not place.exists("bucket"),
    ("DELETE", "delete-listrange"): lambda place: place.listed() == OBJECTS[2:],
    ("POST", "copy-listrange"): lambda place: place.listed("other") == ["copy-of-p-2"],
    ("POST", "copy-bck"): lambda place: place.listed("other") == OBJECTS,
    ("POST", "move-bck"): lambda place: place.listed("other") == OBJECTS and not place.exists("bucket"),
    ("PUT", "archive"): lambda place: place.listed() == ["both.tar", *OBJECTS],
    ("PUT", ""): lambda place: "new" in place.listed(),
    ("DELETE", ""): lambda place: "p-1" not in place.listed(),
    ("POST", "promote"): lambda place: "promoted/file" in place.listed(),
    ("POST", "rename-obj"): lambda place: (
        place.listed() == [*(each for each in OBJECTS if each != "p-1"), "renamed"]
    ),
    ("POST", "mpt-complete"): lambda place: "parts" in place.listed(),
    ("POST", "disable-mp"): lambda place: place.disabled() == [place.names["mountpath"]],
    ("POST", "enable-mp"): lambda place: place.disabled() == [],
}
"""What is to be seen soon after an example of that method and action; without an action it is one of objects."""


@pytest.mark.parametrize(
    ("operation", "action", "said"),
    [
        pytest.param(*each, id=f"{each[0].method} {each[0].path} {each[1]}".strip().replace("/", "|"))
        for each in documented()
    ],
)
def test_the_example_does_what_is_said(
    cluster: Cluster, operation: Operation, action: str, said: Documentation
) -> None:
    place = Place(cluster, made=action != "create-bck")
    try:
        BEFORE.get(action, nothing)(place)
        command = example(operation, action, said, place.names)
        status, body = answer_to(command, place)
        assert status in said.statuses, command
        if operation.method != "HEAD" and status not in (202, 304):
            check_body(said, body)
        seen = AFTER.get((operation.method, action))
        if seen is not None and (action or operation.path == OBJECT):
            wait_until(lambda: seen(place), 30, f"{command} has done what it says")
    finally:
        UNDO.get(action, nothing)(place)


def answer_to(command: str, place: Place) -> tuple[int, bytes]:
    """Status and body."""
    script = f"{command} --silent --show-error --write-out '\\n%{{http_code}}'"
    environment = {"AIS_ENDPOINT": place.endpoint, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def check_body(said: Documentation, body: bytes) -> None:
    """It is what the reference says that it is."""
    if said.body is None:
        assert body == b"", said.answer
    elif said.body in (str, bytes):
        assert body, said.answer
    else:
        msgspec.json.decode(body, type=said.body)
