"""`shoal-health FILE`: whether the process that wrote this ready file answers, for health checks of containers.

Asks at every address in the file. Any answer counts, also a refusal: it came from the process's event loop, which
a port that merely accepts does not prove. It must be as light as it can be, because it runs every few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import grpc.aio

ANSWER_SECONDS_MAX = 4.0
ATTEMPT_SECONDS_MAX = 1.0
EXIT_UNHEALTHY = 1
METHOD = "/shoal.object.v1.ObjectService/HeadObject"
"""Served by proxies and targets; an empty request is refused by the handler, without any work."""
NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class Unhealthy(Exception):
    """With the reason, for the engine's log."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="shoal-health", description="Exit 0 when the process answers.")
    parser.add_argument("ready_file", type=Path, metavar="FILE", help="the process's `ready_file`")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="ca.pem of the cluster, to check gRPC by")
    arguments = parser.parse_args()
    try:
        check(arguments.ready_file, ca=arguments.ca)
    except Unhealthy as reason:
        sys.stderr.write(f"shoal-health: {reason}\n")
        sys.exit(EXIT_UNHEALTHY)


def check(ready_file: Path, *, ca: Path | None) -> None:
    """Raises Unhealthy."""
    try:
        ready: Mapping[str, str] = json.loads(ready_file.read_bytes())
        authority = ca.read_bytes() if ca else None
    except (OSError, ValueError) as error:
        raise Unhealthy(f"not ready: {error}") from error
    if "http_url" in ready:
        check_http(ready["http_url"], ready["id"])
    if "public_address" in ready:
        asyncio.run(check_grpc(ready, authority))


def check_http(url: str, node_id: str) -> None:
    """Workers share their port, and the kernel deals connections out: connect until the one that is meant answers."""
    address = urlsplit(url).netloc
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    others: set[str] = set()
    while time.monotonic() < deadline:
        connection = HTTPConnection(address, timeout=ATTEMPT_SECONDS_MAX)
        try:
            connection.request("GET", "/v1/daemon?what=snode", headers={"Connection": "close"})
            answer = connection.getresponse()
            answered = json.loads(answer.read())["daemon_id"] if answer.status == 200 else str(answer.status)
        except (OSError, HTTPException, ValueError, KeyError) as error:
            answered = type(error).__name__
            time.sleep(0.05)  # a refused connection takes no time
        finally:
            connection.close()
        if answered == node_id:
            return
        others.add(answered)
    raise Unhealthy(f"{node_id} did not answer at {url} in {ANSWER_SECONDS_MAX:g} s, only {sorted(others)}")


async def check_grpc(ready: Mapping[str, str], authority: bytes | None) -> None:
    address = ready["public_address"]
    await ask(address, grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(authority)))
    if "unix_socket" in ready:
        address = f"unix:{ready['unix_socket']}"
        await ask(address, grpc.aio.insecure_channel(address))


async def ask(address: str, channel: grpc.aio.Channel) -> None:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
    async with channel:
        try:
            await method(b"", timeout=ANSWER_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            if error.code() in NO_ANSWER:
                raise Unhealthy(f"no answer from {address}: {error.details()}") from error


if __name__ == "__main__":
    main()
