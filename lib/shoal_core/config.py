"""Configuration: one frozen dataclass per service, filled from a TOML file and the environment.

A key that the dataclass does not have is refused, because a typo must not become a default. The environment
overrides single values as `<PREFIX>_<FIELD>`; only this module reads it for settings.
"""

from __future__ import annotations

import dataclasses
import difflib
import hmac
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from shoal_core.errors import ConfigurationError

T = TypeVar("T")

TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})
TYPE_WORDS: dict[object, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}


class Secret:
    """A string that no log, error or `repr` shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> typing.NoReturn:
        raise TypeError("a Secret is not to be pickled or copied into files")


def load_configuration(kind: type[T], *, path: Path | None, environment: Mapping[str, str], prefix: str) -> T:
    """The settings in `path` (TOML), overridden by variables `<prefix>_<FIELD>` of `environment`.

    Field types: str, int, float, bool, Path, Secret, `tuple[str, ...]` (comma-separated in the environment),
    another dataclass, `tuple[<dataclass>, ...]` (TOML tables), and any of these `| None`. Relative paths in
    the file are relative to its folder. Raises ConfigurationError with one sentence.
    """
    table = read_toml(path) if path is not None else {}
    source = str(path) if path is not None else "the configuration"
    folder = path.resolve().parent if path is not None else Path.cwd()
    values = from_table(kind, table, source=source, folder=folder)
    values |= from_environment(kind, environment, prefix=prefix)
    return build(kind, values, source=source)


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"configuration {path} is not valid TOML: {error}") from error


def from_table(kind: type[Any], table: Mapping[str, Any], *, source: str, folder: Path) -> dict[str, object]:
    hints = field_types(kind)
    refuse_unknown(table, hints, source=source)
    return {
        key: converted(hints[key], value, where=f"{key} in {source}", folder=folder)
        for key, value in table.items()
    }


def from_environment(kind: type[Any], environment: Mapping[str, str], *, prefix: str) -> dict[str, object]:
    hints = {f"{prefix}_{name}".upper(): (name, hint) for name, hint in field_types(kind).items()}
    given = {key: text for key, text in environment.items() if key.startswith(f"{prefix}_".upper())}
    refuse_unknown(given, hints, source="the environment")
    return {
        hints[key][0]: converted(
            hints[key][1],
            from_text(hints[key][1], text, where=f"variable {key}"),
            where=f"variable {key}",
            folder=Path.cwd(),
        )
        for key, text in given.items()
    }


def field_types(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: without_none(hints[field.name]) for field in dataclasses.fields(kind) if field.init}


def without_none(hint: Any) -> Any:
    """`X | None` is written as X or left out."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return hint
    (inner,) = [part for part in typing.get_args(hint) if part is not types.NoneType]
    return inner


def refuse_unknown(given: Iterable[str], known: Iterable[str], *, source: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"unknown setting {key} in {source}{hint}", setting=key)


def build(kind: type[T], values: Mapping[str, object], *, source: str) -> T:
    """Make the dataclass; its own `__post_init__` may refuse combinations with a ConfigurationError."""
    for field in dataclasses.fields(cast(Any, kind)):
        has_default = (
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        )
        if field.init and not has_default and field.name not in values:
            raise ConfigurationError(f"setting {field.name} is missing in {source}", setting=field.name)
    return kind(**values)


def converted(hint: Any, value: object, *, where: str, folder: Path) -> object:
    """`value`, as TOML gives it, as the type of the field."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigurationError(f"{where} must be a table")
        return build(hint, from_table(hint, value, source=where, folder=folder), source=where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigurationError(f"{where} must be a list")
        element = typing.get_args(hint)[0]
        return tuple(
            converted(element, item, where=f"item {number} of {where}", folder=folder)
            for number, item in enumerate(value, 1)
        )
    return scalar(hint, value, where=where, folder=folder)


def scalar(hint: Any, value: object, *, where: str, folder: Path) -> object:
    if hint is Secret and isinstance(value, str):
        return Secret(value)
    if hint is Path and isinstance(value, str):
        return folder / Path(value).expanduser()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int, and `workers = true` is a mistake.
    if type(value) is hint:
        return value
    if hint is Secret:
        raise ConfigurationError(f"{where} must be a string")
    raise ConfigurationError(f"{where} must be {TYPE_WORDS.get(hint, hint)}, not {value!r}")


def from_text(hint: Any, text: str, *, where: str) -> object:
    """The value that TOML would have given, from the text of a variable."""
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[0] is str:
        return [part.strip() for part in text.split(",") if part.strip()]
    if typing.get_origin(hint) is tuple or dataclasses.is_dataclass(hint):
        raise ConfigurationError(f"{where} cannot hold tables; set them in the configuration file")
    try:
        if hint is bool:
            return boolean(text)
        return hint(text) if hint in (int, float) else text
    except ValueError as error:
        raise ConfigurationError(f"{where} must be {TYPE_WORDS[hint]}, not {text!r}") from error


def boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValueError(text)
