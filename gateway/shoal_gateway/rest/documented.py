"""What is said of a route or an action, beside its handler, to those who call it; OpenAPI and pages are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])
ATTRIBUTE = "documentation"


@dataclass(frozen=True, slots=True)
class Documentation:
    """Of one route, or of one action of a route."""

    summary: str
    """One sentence that begins with a verb."""
    text: str = ""
    value: type | None = None
    """Model of the action message's `value`."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Fields of the query beside `provider` and `namespace`, and what they mean."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the request that change what it means."""
    answer: str = "Nothing."
    """What comes with success."""
    body: type | None = None
    """What JSON it is; `str` for text, `bytes` for anything else, None for nothing."""
    statuses: tuple[int, ...] = (200,)
    """Of success."""
    example: object = None
    """`value` of the example; for routes without actions the body itself."""
    example_name: str = ""
    """`name` of the example's action message."""
    example_query: str = ""
    example_path: str = ""
    """Where the example asks, if the template with its usual names is not enough."""


def documented(documentation: Documentation) -> Callable[[Function], Function]:
    """Says this of the handler."""

    def mark(function: Function) -> Function:
        setattr(function, ATTRIBUTE, documentation)
        return function

    return mark


def documentation_of(handler: Callable[..., object]) -> Documentation | None:
    found = getattr(handler, ATTRIBUTE, None)
    return found if isinstance(found, Documentation) else None
