"""How data commands reach the cluster, and what becomes of what goes wrong: one sentence and an exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from shoal_cli.output import complain
from shoal_client.client import ShoalClient
from shoal_core.errors import InternalError, ShoalError

DEFAULT_ADDRESS = "127.0.0.1:51081"
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

GrpcOption = Annotated[
    str, typer.Option("--grpc", envvar="SHOAL_GRPC", help="Address of a proxy, `host:port`.")
]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", envvar="SHOAL_CA", help="The cluster's `ca.pem`, by which the proxy is checked."),
]

Action = Callable[[ShoalClient], Awaitable[int | None]]


def run(action: Action, *, grpc: str, ca: Path | None) -> None:
    """Connect, do it, and leave with its exit code (None is 0)."""
    if ca is None:
        complain('the cluster is not known: run eval "$(shoal env)" first, or give --grpc and --ca')
        raise typer.Exit(EXIT_USAGE)

    async def connected() -> int | None:
        async with ShoalClient.connect(grpc, ca=ca) as client:
            return await action(client)

    code = run_coroutine(connected())
    if code:
        raise typer.Exit(code)


def run_coroutine(coroutine: Coroutine[Any, Any, int | None]) -> int | None:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(coroutine)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        complain("interrupted")
        return EXIT_INTERRUPTED
    except ShoalError as error:
        complain(describe(error))
        return EXIT_FAILED
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return EXIT_FAILED


def describe(error: ShoalError) -> str:
    """The sentence; with the request id where the operator's logs are needed to go on."""
    identity = error.metadata.get("request_id")
    if identity and isinstance(error, InternalError) and identity not in error.message:
        return f"{error.message} (request id {identity})"
    return error.message
