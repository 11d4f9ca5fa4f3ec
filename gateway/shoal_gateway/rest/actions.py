"""AIStore's action message: the JSON body, also of GETs, that says what is to be done."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import InvalidArgument

T = TypeVar("T")
_NULL = msgspec.Raw(b"null")


class ActionMessage(msgspec.Struct, frozen=True):
    """`value` stays undecoded until its action is known."""

    action: str = ""
    name: str = ""
    value: msgspec.Raw = _NULL
    whole: bytes = b""
    """The body as it came, for questions whose arguments are not in `value`."""


def decode_action(body: bytes) -> ActionMessage:
    """No body means no action."""
    if not body.strip():
        return ActionMessage()
    try:
        return msgspec.structs.replace(msgspec.json.decode(body, type=ActionMessage), whole=body)
    except UNDECODABLE as error:
        raise InvalidArgument(
            f'the action message cannot be read ({error}): send JSON such as {{"action":"list","value":null}}'
        ) from error


def decode_value(message: ActionMessage, kind: type[T]) -> T | None:
    """The action's value as `kind`; None when there is none."""
    if bytes(message.value).strip() in (b"", b"null", b'""'):
        return None
    try:
        return msgspec.json.decode(message.value, type=kind)
    except UNDECODABLE as error:
        raise InvalidArgument(f"the value of action {message.action!r} cannot be read: {error}") from error
