"""The versions of the official SDK that the tests run with, and what differs between them."""

from __future__ import annotations

from typing import Any

import aistore
from aistore.sdk.obj.object import Object

from support.older_sdk import VERSION

IS_OLDER = aistore.__version__ == VERSION


def selected(item: Object, props: str) -> Any:
    """A HEAD that asks for these properties, which the older SDK's `head` cannot."""
    return getattr(item, "head_v2" if IS_OLDER else "head")(props)
