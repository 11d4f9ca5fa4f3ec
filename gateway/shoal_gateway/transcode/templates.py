"""Path templates of `google.api.http` rules: which RPC a path means, and which fields it fills.

As Envoy matches them: a literal goes before `*`, which goes before `**`; `**` takes no segment, too; trailing
slashes do not count; only a verb that some template has is a verb, so that names may hold colons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Target = TypeVar("Target")
FieldPath = tuple[str, ...]

ONE, MANY = "*", "**"
_VARIABLE = re.compile(r"\{([a-zA-Z0-9_.]+)(?:=([^{}]+))?\}")
_VERB = re.compile(r":([^/:{}]+)$")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Variable:
    """The segments from `start` up to `end` fill a field. Negative: as many from the end of the path, and one more."""

    field_path: FieldPath
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Binding:
    """One field as a path or a query gives it: the value is text of any kind, still to be converted."""

    field_path: FieldPath
    value: bytes


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """`/-/api/v1/buckets/{bucket.name}/objects/{name=**}`, parsed."""

    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str

    @staticmethod
    def parse(text: str) -> PathTemplate:
        """Raises ValueError for what is not a template."""
        verb = _VERB.search(text)
        if verb:
            text = text[: verb.start()]
        patterns: list[tuple[FieldPath, str]] = []

        def numbered(match: re.Match[str]) -> str:
            patterns.append((tuple(match[1].split(".")), match[2] or ONE))
            return f"{{{len(patterns) - 1}}}"

        if re.search("[{}]", _VARIABLE.sub("", text)):
            raise ValueError(f"no path template: {text!r} has a brace that belongs to no variable")
        parts = _VARIABLE.sub(numbered, text).removeprefix("/").split("/")
        segments, spans = flattened(parts, patterns)
        if not text.startswith("/") or segments.count(MANY) > 1 or any(not each for each in segments):
            raise ValueError(f"{text!r} is not a path template that we can serve")
        return PathTemplate(tuple(segments), variables_of(segments, spans), verb[1] if verb else "")

    @property
    def rank(self) -> tuple[int, ...]:
        """Templates with a smaller rank go first."""
        return tuple({ONE: 1, MANY: 2}.get(segment, 0) for segment in self.segments)

    def matches(self, parts: Sequence[bytes]) -> bool:
        if MANY not in self.segments:
            return len(parts) == len(self.segments) and all(map(fits, self.segments, parts))
        head = self.segments.index(MANY)
        tail = len(self.segments) - head - 1
        if len(parts) < head + tail:
            return False
        return all(map(fits, self.segments[:head], parts)) and (
            not tail or all(map(fits, self.segments[-tail:], parts[-tail:]))
        )

    def bindings(self, parts: Sequence[bytes]) -> list[Binding]:
        """The fields that a matching path fills."""
        found = []
        for variable in self.variables:
            start, end = (
                index if index >= 0 else len(parts) + index + 1 for index in (variable.start, variable.end)
            )
            value = b"/".join(unescaped(part) for part in parts[start:end])
            found.append(Binding(variable.field_path, value))
        return found


class Routes(Generic[Target]):
    """HTTP method and path to whatever was registered for them."""

    def __init__(self) -> None:
        self._routes: dict[str, list[tuple[PathTemplate, Target]]] = {}
        self._verbs: set[str] = set()

    def add(self, method: str, template: PathTemplate, target: Target) -> None:
        known = self._routes.setdefault(method, [])
        if any(other.segments == template.segments and other.verb == template.verb for other, _ in known):
            raise ValueError(f"two RPCs have the rule {method} /{'/'.join(template.segments)}")
        known.append((template, target))
        known.sort(key=lambda entry: entry[0].rank)
        self._verbs |= {template.verb} - {""}

    def find(self, method: str, path: bytes) -> tuple[Target, list[Binding]] | None:
        """The target, and the fields that the (still escaped) path fills."""
        parts, verb = split_path(path, self._verbs)
        for template, target in self._routes.get(method, ()):
            if template.verb == verb and template.matches(parts):
                return target, template.bindings(parts)
        return None


def split_path(path: bytes, verbs: Iterable[str]) -> tuple[list[bytes], str]:
    """The segments without the empty ones at the end, and the verb."""
    head, colon, last = path.rpartition(b":")
    verb = last.decode("latin-1")
    if colon and verb in verbs:
        path = head
    else:
        verb = ""
    parts = path.removeprefix(b"/").split(b"/")
    while parts and not parts[-1]:
        parts.pop()
    return parts, verb


def query_bindings(query: bytes) -> list[Binding]:
    """The fields that a query fills. What has no name or no `=` says nothing, as with Envoy."""
    found = []
    for field in query.split(b"&"):
        name, equals, value = field.partition(b"=")
        if name and equals:
            path = unescaped(name).decode(errors="replace").split(".")
            found.append(Binding(tuple(path), unescaped(value.replace(b"+", b" "))))
    return found


def unescaped(text: bytes) -> bytes:
    """Undo percent-encoding once; a `%` that begins no escape stands for itself."""
    if b"%" not in text:
        return text
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), text)


def fits(segment: str, part: bytes) -> bool:
    return segment == ONE or segment.encode() == part


def flattened(
    parts: Iterable[str], patterns: Sequence[tuple[FieldPath, str]]
) -> tuple[list[str], list[tuple[FieldPath, int, int]]]:
    """The segments with the variables' patterns in their places, and which segments each variable spans."""
    segments: list[str] = []
    spans: list[tuple[FieldPath, int, int]] = []
    for part in parts:
        if not part.startswith("{"):
            segments.append(part)
            continue
        field_path, pattern = patterns[int(part[1:-1])]
        inner = pattern.split("/")
        spans.append((field_path, len(segments), len(segments) + len(inner)))
        segments += inner
    return segments, spans


def variables_of(
    segments: Sequence[str], spans: Iterable[tuple[FieldPath, int, int]]
) -> tuple[Variable, ...]:
    many = segments.index(MANY) if MANY in segments else len(segments)

    def counted(index: int) -> int:
        """From the end, for what lies behind `**`."""
        return index if index <= many else index - len(segments) - 1

    return tuple(Variable(field_path, counted(start), counted(end)) for field_path, start, end in spans)
