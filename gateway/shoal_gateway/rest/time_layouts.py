"""Times as AIStore's clients ask for them (`time_format`): written like Go's reference time, Mon Jan 2 15:04:05 2006.

Always in UTC. `02 Jan 06 15:04 MST` and `2006-01-02T15:04:05Z07:00` are such layouts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

from shoal_core.errors import InvalidArgument

LAYOUT_LENGTH_MAX = 100
NANOSECONDS = 1_000_000_000

Shown: TypeAlias = Callable[[datetime], str]


def strftime(directive: str) -> Shown:
    return lambda moment: moment.strftime(directive)


def always(text: str) -> Shown:
    return lambda _moment: text


PARTS: Mapping[str, Shown] = {
    "January": strftime("%B"),
    "Jan": strftime("%b"),
    "Monday": strftime("%A"),
    "Mon": strftime("%a"),
    "MST": always("UTC"),
    **{zone: always("Z") for zone in ("Z07:00:00", "Z070000", "Z07:00", "Z0700", "Z07")},
    "-07:00:00": always("+00:00:00"),
    "-070000": always("+000000"),
    "-07:00": always("+00:00"),
    "-0700": always("+0000"),
    "-07": always("+00"),
    "2006": lambda moment: f"{moment.year:04}",
    "__2": lambda moment: f"{moment.timetuple().tm_yday:3}",
    "002": strftime("%j"),
    "01": strftime("%m"),
    "02": strftime("%d"),
    "03": strftime("%I"),
    "04": strftime("%M"),
    "05": strftime("%S"),
    "06": strftime("%y"),
    "15": strftime("%H"),
    "PM": strftime("%p"),
    "pm": lambda moment: moment.strftime("%p").lower(),
    "1": lambda moment: str(moment.month),
    "_2": lambda moment: f"{moment.day:2}",
    "2": lambda moment: str(moment.day),
    "3": lambda moment: str((moment.hour - 1) % 12 + 1),
    "4": lambda moment: str(moment.minute),
    "5": lambda moment: str(moment.second),
}
"""The longer of two that begin alike comes first."""

FRACTION = r"(?<=5)[.,](?:0+|9+)(?![0-9])"
"""Of a second, behind it: with zeros so many digits, with nines none that mean nothing."""
PART = re.compile(f"{FRACTION}|_(?=2006)|" + "|".join(map(re.escape, PARTS)))


@lru_cache(64)
def time_writer(layout: str) -> Callable[[int], str]:
    """Writes nanoseconds since 1970. Raises InvalidArgument."""
    if len(layout) > LAYOUT_LENGTH_MAX:
        raise InvalidArgument(f"the time format has more than {LAYOUT_LENGTH_MAX} characters")

    @lru_cache(4096)
    def write(time_ns: int) -> str:
        seconds, rest = divmod(time_ns, NANOSECONDS)
        moment = datetime.fromtimestamp(seconds, UTC)
        return PART.sub(lambda part: shown(part[0], moment, rest), layout)

    return write


def shown(part: str, moment: datetime, nanoseconds: int) -> str:
    if part == "_":
        return part
    if part[0] not in ".,":
        return PARTS[part](moment)
    digits = f"{nanoseconds:09}".ljust(len(part) - 1, "0")[: len(part) - 1]
    digits = digits if part[1] == "0" else digits.rstrip("0")
    return part[0] + digits if digits else ""
