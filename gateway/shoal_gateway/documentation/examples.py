"""A command for each operation, as the pages show it and as CI runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from shoal_gateway.documentation.operations import Operation
from shoal_gateway.permissions import OBJECT
from shoal_gateway.rest.documented import Documentation

NAMES: Mapping[str, str] = {
    "bucket": "photos",
    "other": "copies",
    "upload": "UPLOAD",
    "target": "t1",
    "job": "j-1d3f0a2b4c5e",
    "file": "start.js",
    "promote": "/data/incoming",
    "mountpath": "/data/mp1",
}
"""What stands for placeholders on the pages. `upload` is what `mpt-upload` answered, `job` the
id of a job."""
NODE_HEADER = "Ais-Node-Id"
BODY = "hello world"


def example(operation: Operation, action: str, said: Documentation, names: Mapping[str, str] = NAMES) -> str:
    """For a shell in which `AIS_ENDPOINT` is set."""
    query = [said.example_query] if said.example_query else []
    if operation.action_in_query:
        query.append(f"what={action}")
    path = filled(said.example_path or operation.path, names)
    url = f"$AIS_ENDPOINT{path}" + (f"?{filled('&'.join(query), names)}" if query else "")
    words = ["curl --fail", "--head" if operation.method == "HEAD" else f"-X {operation.method}", f'"{url}"']
    if NODE_HEADER in said.headers:
        words.append(f"-H '{NODE_HEADER}: {names['target']}'")
    if (body := body_of(operation, action, said)) is not None:
        words.append(f"-H 'Content-Type: application/json' -d '{filled(json.dumps(body), names)}'")
    elif (operation.method, operation.path) == ("PUT", OBJECT):
        words.append(f"-d '{BODY}'")
    return " ".join(words)


def body_of(operation: Operation, action: str, said: Documentation) -> object:
    if not action or operation.action_in_query:
        return said.example
    name = {"name": said.example_name} if said.example_name else {}
    value = {} if said.example is None else {"value": said.example}
    return {"action": action, **name, **value}


def filled(text: str, names: Mapping[str, str]) -> str:
    """Placeholders only: JSON has braces of its own."""
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text
