"""Every setting of a service, its value, and where the value came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal_core.config import Secret, field_types, load_configuration, read_toml


@dataclass(frozen=True, slots=True)
class Setting:
    """`value` as JSON has it, secrets as `***`; `source` is a file, `variable NAME` or `default`."""

    name: str
    value: object
    source: str


def explain(kind: type[Any], *, path: Path, environment: Mapping[str, str], prefix: str) -> list[Setting]:
    """In the order of the dataclass. Raises ConfigurationError, with the sentence that the service would say."""
    configuration = load_configuration(kind, path=path, environment=environment, prefix=prefix)
    table = read_toml(path)
    settings = []
    for name in field_types(kind):
        variable = f"{prefix}_{name}".upper()
        source = str(path) if name in table else "default"
        if variable in environment:
            source = f"variable {variable}"
        settings.append(Setting(name, shown(getattr(configuration, name)), source))
    return settings


def shown(value: object) -> object:
    if isinstance(value, Path | Secret):
        return str(value)
    if isinstance(value, tuple):
        return [shown(each) for each in value]
    if dataclasses.is_dataclass(value):
        return {field.name: shown(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value
