"""How a listing with a delimiter folds names into common prefixes, as bytes."""

from __future__ import annotations

from shoal_core.objects import ListQuery


def common_prefix(name: bytes, prefix: bytes, *, delimiter: bytes) -> bytes:
    """What a name is folded to: up to the first delimiter behind the prefix. Empty when it is shown itself."""
    cut = name.find(delimiter, len(prefix)) if delimiter else -1
    return name[: cut + len(delimiter)] if cut >= 0 else b""


def after_prefix(prefix: bytes) -> bytes:
    """The first byte string behind everything that starts with `prefix`; UTF-8 has no byte 255."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def first_wanted(query: ListQuery) -> bytes:
    """Names before this are not of the page. A common prefix that `start_after` itself falls under is not after it."""
    prefix, after = query.prefix.encode(), query.start_after.encode()
    if not after:
        return prefix
    if after.startswith(prefix) and (
        common := common_prefix(after, prefix, delimiter=query.delimiter.encode())
    ):
        return after_prefix(common)
    return max(prefix, after + b"\0")
