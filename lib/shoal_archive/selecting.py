"""Which members of an archive are wanted: AIStore's `archregx` and `archmode`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import re2

from shoal_archive.index import plain
from shoal_core.errors import InvalidArgument

Wanted: TypeAlias = Callable[[str], bool]
MODES = ("regexp", "prefix", "suffix", "substr", "wdskey")
PATTERN_CHARACTERS_MAX = 1000


def selector(pattern: str, mode: str) -> Wanted:
    """Raises InvalidArgument for a mode nobody knows and a pattern that is none."""
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise InvalidArgument(f"archregx has more than {PATTERN_CHARACTERS_MAX} characters")
    match mode:
        case "regexp" | "":
            return matcher(pattern)
        case "prefix":
            return lambda name: plain(name).startswith(plain(pattern))
        case "suffix":
            return lambda name: name.endswith(pattern)
        case "substr":
            return lambda name: pattern in name
        case "wdskey":
            return lambda name: webdataset_key(plain(name)) == plain(pattern)
    raise InvalidArgument(f"archmode {mode[:40]!r} is not known: use one of {', '.join(MODES)}")


def matcher(pattern: str) -> Wanted:
    """RE2, as AIStore has it: its time grows with the name alone, whatever the pattern."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise InvalidArgument(f"archregx is no regular expression (RE2): {error}") from error
    return lambda name: compiled.search(printable(name)) is not None


def webdataset_key(name: str) -> str:
    """What the files of one sample share: the path up to the first dot of the last element."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def printable(name: str) -> str:
    """Without the surrogate escapes of names that are no UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="replace")
