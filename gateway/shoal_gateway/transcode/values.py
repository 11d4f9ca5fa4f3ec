"""From a JSON value, or the text of a path or query, to the value of one protobuf field, as Envoy converts it.

Numbers may come as strings, as 64-bit ones must; text is never a number.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from shoal_core.errors import InvalidArgument

Scalar: TypeAlias = bool | int | float | str | bytes

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|NaN|-?Infinity", re.ASCII)
_BASE64_BLANKS = str.maketrans("", "", " \t\r\n\v\f")
INTEGER_DIGITS_MAX = 40
"""More than any field takes; the bound keeps the conversion of a long text cheap."""
TRUE = frozenset({"true", "t", "yes", "y", "1"})
FALSE = frozenset({"false", "f", "no", "n", "0"})


class BadRequest(InvalidArgument):
    """The request is not what its method takes. Never reaches a service: answered as Envoy does, in plain text."""


class WrongValue(ValueError):
    """A value that its field cannot hold."""


def scalar_of(field: FieldDescriptor, value: object) -> Scalar:
    """What `field` gets for a JSON value (`str`, `bool`, `int`, `float`). Raises BadRequest."""
    try:
        if field.enum_type is not None:
            return enum_of(field.enum_type, value)
        return CONVERSIONS[field.type](value)
    except WrongValue as error:
        raise BadRequest(
            f"{field.name}: invalid value {shown(value)} for type {TYPE_NAMES[field.type]}", field=field.name
        ) from error


def shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def enum_of(enum: EnumDescriptor, value: object) -> int:
    """Names as declared; numbers of any kind, known or not, as proto3 keeps them; as text only known ones."""
    if isinstance(value, str) and value in enum.values_by_name:
        return enum.values_by_name[value].number
    number = integer(value, minimum=-(1 << 31), maximum=(1 << 31) - 1)
    if isinstance(value, str) and number not in enum.values_by_number:
        raise WrongValue
    return number


def integer(value: object, *, minimum: int, maximum: int) -> int:
    if isinstance(value, str):
        value = int(value) if len(value) <= INTEGER_DIGITS_MAX and _INTEGER.fullmatch(value) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise WrongValue
    return value


def sized(bits: int, *, signed: bool) -> Callable[[object], int]:
    minimum = -(1 << (bits - 1)) if signed else 0
    maximum = (1 << (bits - signed)) - 1
    return lambda value: integer(value, minimum=minimum, maximum=maximum)


def decimal(value: object) -> float:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = float(value.replace("Infinity", "inf"))
        if math.isinf(number) and "Infinity" not in value:
            raise WrongValue
        return number
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongValue
    return float(value)


def single_precision(value: object) -> float:
    number = decimal(value)
    if math.isfinite(number) and abs(number) > 3.4028235677973366e38:
        raise WrongValue
    return number


def boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = value.lower() if isinstance(value, str) else ""
    if text not in TRUE | FALSE:
        raise WrongValue
    return text in TRUE


def text_of(value: object) -> str:
    if not isinstance(value, str):
        raise WrongValue
    return value


def decoded(value: object) -> bytes:
    """Base64 in either alphabet, but not a mixture; padding is all there or not at all."""
    if not isinstance(value, str):
        raise WrongValue
    text = value.translate(_BASE64_BLANKS)
    bare = text.rstrip("=")
    missing = -len(bare) % 4
    mixed = set(bare) & set("-_") and set(bare) & set("+/")
    if mixed or missing == 3 or len(text) - len(bare) not in (0, missing):
        raise WrongValue
    try:
        return base64.b64decode(bare + "=" * missing, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongValue from error


CONVERSIONS: Mapping[int, Callable[[object], Scalar]] = {
    FieldDescriptor.TYPE_DOUBLE: decimal,
    FieldDescriptor.TYPE_FLOAT: single_precision,
    FieldDescriptor.TYPE_INT64: sized(64, signed=True),
    FieldDescriptor.TYPE_SINT64: sized(64, signed=True),
    FieldDescriptor.TYPE_SFIXED64: sized(64, signed=True),
    FieldDescriptor.TYPE_UINT64: sized(64, signed=False),
    FieldDescriptor.TYPE_FIXED64: sized(64, signed=False),
    FieldDescriptor.TYPE_INT32: sized(32, signed=True),
    FieldDescriptor.TYPE_SINT32: sized(32, signed=True),
    FieldDescriptor.TYPE_SFIXED32: sized(32, signed=True),
    FieldDescriptor.TYPE_UINT32: sized(32, signed=False),
    FieldDescriptor.TYPE_FIXED32: sized(32, signed=False),
    FieldDescriptor.TYPE_BOOL: boolean,
    FieldDescriptor.TYPE_STRING: text_of,
    FieldDescriptor.TYPE_BYTES: decoded,
}

TYPE_NAMES: Mapping[int, str] = {
    number: name for name, number in vars(FieldDescriptor).items() if name.startswith("TYPE_")
}
