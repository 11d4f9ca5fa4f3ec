"""What msgspec raises for bytes that it cannot decode, which is more than its own errors."""

from __future__ import annotations

import msgspec

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Text that is no UTF-8 and arrays a thousand deep are errors of Python's: catch them all at every edge."""
