"""What a process says of itself: JSON log lines, request ids that travel with the work, Prometheus metrics.

A request id is given where a request enters the cluster, travels in the metadata of every call made for it
(`shoal_core.rpc`), and stands in every log line and error of every process that worked on it.

Metrics are declared where they are counted, as module constants of `prometheus_client` named `shoal_...`. All
processes of a host write into the folder PROMETHEUS_MULTIPROC_DIR, so that any of them can render the sum.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import secrets
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from shoal_core.errors import ConfigurationError

if TYPE_CHECKING:
    import structlog

METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LEVELS = ("debug", "info", "warning", "error")

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that this task works for; "" outside of requests."""

_PROCESS_ID = secrets.token_hex(4)
_request_numbers = itertools.count(secrets.randbelow(1 << 32))

_ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_request_id() -> str:
    """16 hexadecimal digits: eight of this process, eight that count."""
    return f"{_PROCESS_ID}{next(_request_numbers) & 0xFFFFFFFF:08x}"


def accepted_request_id(offered: str) -> str:
    """The id that a caller offered if it is harmless in logs and headers, else a new one."""
    if _ACCEPTED_REQUEST_ID.fullmatch(offered):
        return offered
    return new_request_id()


def get_logger() -> structlog.stdlib.BoundLogger:
    """Log events as `get_logger().info("lease-lost", member="t1")`: a fixed name, and fields for the rest."""
    # Not at the top: with it comes Rich, a tenth of a second that a command has no use for.
    import structlog

    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()
    return logger


def configure_logging(service: str, node_id: str, *, level: str = "info") -> None:
    """Send all logs of this process, those of libraries too, to stderr as JSON lines. Call once, at start."""
    import structlog

    if level not in LEVELS:
        raise ConfigurationError(f"log_level is {level!r}; use one of {', '.join(LEVELS)}")

    def add_origin(
        _logger: object, _method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        event.update(service=service, node=node_id, pid=os.getpid())
        if identity := request_id.get():
            event.setdefault("request_id", identity)
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_origin,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def render_metrics() -> bytes:
    """The metrics of all processes of this host (of this process when there is no shared folder)."""
    if METRICS_FOLDER_VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # third party, its stub has no types
    return generate_latest(registry)
