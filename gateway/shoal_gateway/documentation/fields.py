"""What stands below each field of a message, read from its source: once said there, it is said in every page."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache

import msgspec


@cache
def texts_of(model: type) -> Mapping[str, str]:
    """By the name that a field has on the wire; fields of which nothing is said are left out."""
    names = {field.name: field.encode_name for field in msgspec.structs.fields(model)}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for before, after in zip(definition.body, definition.body[1:], strict=False):
        match before, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                found[names[name]] = " ".join(text.split())
    return found


def models_in(model: type) -> Mapping[str, type]:
    """The model itself and those of its fields, at any depth, by name."""
    found: dict[str, type] = {}

    def look_at(kind: msgspec.inspect.Type) -> None:
        if isinstance(kind, msgspec.inspect.StructType) and kind.cls.__name__ not in found:
            found[kind.cls.__name__] = kind.cls
            for field in kind.fields:
                look_at(field.type)
        for inner in (getattr(kind, "item_type", None), getattr(kind, "value_type", None)):
            if inner is not None:
                look_at(inner)
        for inner in getattr(kind, "types", ()):
            look_at(inner)

    look_at(msgspec.inspect.type_info(model))
    return found
