"""How a service process begins and ends: its command line, signals, ready file and exit code.

A problem that the operator can solve is one sentence on stderr and exit code 2. SIGTERM and SIGINT ask the
service to stop; one that does not manage within STOP_SECONDS_MAX is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

import shoal_core.ranking  # noqa: F401  else the first request would wait until NumPy is there
from shoal_core.errors import ConfigurationError, ShoalError
from shoal_core.freed_memory import keep_for_next
from shoal_core.settings_explained import explain
from shoal_core.telemetry import get_logger

STOP_SECONDS_MAX = 9.5
YOUNG_OBJECTS_MAX = 10_000
"""Made and still there, before the garbage collector looks at them."""
EXIT_BUG = 1
EXIT_CONFIGURATION = 2
EXIT_STUCK = 3

Serve = Callable[[Path, asyncio.Event], Coroutine[Any, Any, None]]
"""Runs the service by the configuration file until the event is set."""


def run_service(name: str, serve: Serve, *, settings: type[Any]) -> None:
    """The `main` of a service: `<name> --config FILE [--insecure-anonymous | --explain]`. Does not return after a
    failure. `settings` is the dataclass that the file fills."""
    parser = argparse.ArgumentParser(prog=name, allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, TOML")
    parser.add_argument(
        "--insecure-anonymous",
        action="store_true",
        help="serve other machines although nobody can prove who he is: all are administrators",
    )
    parser.add_argument(
        "--explain", action="store_true", help="print every setting and where it came from, as JSON, and end"
    )
    arguments = parser.parse_args()
    prefix = name.upper().replace("-", "_")
    if arguments.insecure_anonymous:
        # Settings have two sources, the file and the environment; the flag is a way to write the second.
        os.environ[f"{prefix}_INSECURE_ANONYMOUS"] = "true"
    try:
        if arguments.explain:
            print_settings(settings, arguments.config, prefix=prefix)
        else:
            collect_less_often()
            keep_for_next()
            allow_descriptors()
            uvloop.run(until_stopped(arguments.config, serve))
    except Exception as error:
        cause = first_error(error)
        if not isinstance(cause, ShoalError | OSError):
            get_logger().critical("internal-error", exc_info=error)
            sys.exit(EXIT_BUG)
        sys.stderr.write(f"{name}: {sentence(cause)}\n")
        sys.exit(EXIT_CONFIGURATION)


def collect_less_often() -> None:
    """Modules and classes are never garbage, so no collection need look at them again; and a page of a listing or a
    burst of requests makes more than Python's 700 objects, of which none is in a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 20)


def allow_descriptors() -> None:
    """As many as this user may have; the usual soft limit of 1,024 is for programs that call select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def print_settings(settings: type[Any], path: Path, *, prefix: str) -> None:
    explained = explain(settings, path=path, environment=os.environ, prefix=prefix)
    sys.stdout.write(json.dumps([asdict(setting) for setting in explained]) + "\n")


async def until_stopped(path: Path, serve: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if not stop.is_set():
            loop.call_later(STOP_SECONDS_MAX, give_up)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await serve(path, stop)


def give_up() -> None:
    get_logger().error("stop-took-too-long", seconds=STOP_SECONDS_MAX)
    os._exit(EXIT_STUCK)


@contextmanager
def ready_file(path: Path, content: Mapping[str, object]) -> Iterator[None]:
    """While the block runs, `path` says that this process serves, and where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps({"pid": os.getpid(), **content}))
    unfinished.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def make_folder(path: Path, *, purpose: str) -> Path:
    """Make a folder of our own, for this user only. Raises ConfigurationError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make {purpose} {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{purpose} {path} is not writable for this user")
    return path


def first_error(error: Exception) -> Exception:
    """Of a group, the first one in it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"cannot use {error.filename}: {error.strerror}"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
