"""Many names in one text: `shard-{000..999..2}.tar`, as bash and AIStore's clients expand braces."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shoal_core.errors import InvalidArgument

NAMES_MAX = 10_000_000
RANGES_MAX = 16
# ASCII digits only: `\d` and int() would take those of other scripts.
_RANGE = re.compile(r"\{([0-9]{1,18})\.\.([0-9]{1,18})(?:\.\.([0-9]{1,18}))?\}")


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Both ends included. `width`: digits, with leading zeros."""

    first: int
    last: int
    step: int
    width: int

    @property
    def count(self) -> int:
        """As `len`, which Python refuses to give for more than 2^63."""
        return (self.last - self.first) // self.step + 1

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return (f"{number:0{self.width}}" for number in range(self.first, self.last + 1, self.step))


@dataclass(frozen=True, slots=True)
class NameTemplate:
    """`texts` has one more element than `ranges`, which stand between them."""

    texts: tuple[str, ...]
    ranges: tuple[NumberRange, ...]

    @staticmethod
    def parse(template: str) -> NameTemplate:
        """Raises InvalidArgument for braces that are no range of numbers, and for too many names."""
        texts, ranges, position = list[str](), list[NumberRange](), 0
        for found in _RANGE.finditer(template):
            texts.append(template[position : found.start()])
            ranges.append(number_range(found))
            position = found.end()
        texts.append(template[position:])
        if any("{" in text or "}" in text for text in texts):
            raise InvalidArgument(
                f"template {template[:200]!r} has braces that are no range: write {{first..last}} or "
                "{first..last..step} with decimal numbers"
            )
        if len(ranges) > RANGES_MAX or math.prod(each.count for each in ranges) > NAMES_MAX:
            raise InvalidArgument(f"template {template[:200]!r} stands for more than {NAMES_MAX} names")
        return NameTemplate(tuple(texts), tuple(ranges))

    def __len__(self) -> int:
        return math.prod(each.count for each in self.ranges)

    def __iter__(self) -> Iterator[str]:
        """In the order in which the last range runs fastest."""
        for numbers in itertools.product(*self.ranges):
            pairs = itertools.zip_longest(self.texts, numbers, fillvalue="")
            yield "".join(itertools.chain.from_iterable(pairs))


def number_range(found: re.Match[str]) -> NumberRange:
    first, last, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if last < first or step < 1:
        raise InvalidArgument(
            f"range {found[0]} is none: the first number is the smaller one, the step 1 or more"
        )
    # bash pads to the longer of the two when either begins with a zero.
    padded = any(len(text) > 1 and text[0] == "0" for text in (found[1], found[2]))
    width = max(len(found[1]), len(found[2])) if padded else 0
    return NumberRange(first, last, step, width)
