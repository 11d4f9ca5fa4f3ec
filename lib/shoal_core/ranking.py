"""The arithmetic of placement for all slots at once: weighted rendezvous hashing, the same to the last bit anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy
import xxhash
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shoal_core.placement import PlacedTarget

LOGARITHM_OF_2 = 0.6931471805599453
SQUARE_ROOT_HALF = 0.7071067811865476
LOGARITHM_TERMS = 11
"""Of the series for ln; the next one would be less than a double can tell."""


class Ranking:
    """Scores of targets, shape (targets, slots): the highest of a slot's is its primary's."""

    def __init__(self, targets: Sequence[PlacedTarget], slots: int) -> None:
        self._scores = numpy.array([scores_of(target, slots) for target in targets])
        self._primaries: NDArray[numpy.intp] = self._scores.argmax(axis=0)

    def primaries(self) -> list[int]:
        """The number of each slot's primary."""
        found: list[int] = self._primaries.tolist()
        return found

    def best_first(self, slot: int) -> list[int]:
        """The numbers of all targets."""
        order: list[int] = numpy.argsort(-self._scores[:, slot], kind="stable").tolist()
        return order

    def owned(self, number: int) -> bytes:
        """Bitmap of the slots of one target: bit `slot & 7` of byte `slot >> 3`."""
        return numpy.packbits(self._primaries == number, bitorder="little").tobytes()


def scores_of(target: PlacedTarget, slots: int) -> NDArray[numpy.float64]:
    """`-weight / ln(u)`, u uniform in (0, 1) from a hash of slot and target."""
    numbers = numpy.arange(slots, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
    mixed = mix(numbers ^ numpy.uint64(xxhash.xxh3_64_intdigest(target.id.encode())))
    uniform = ((mixed >> numpy.uint64(11)).astype(numpy.float64) + 0.5) * 2.0**-53
    scores: NDArray[numpy.float64] = target.weight / minus_logarithm(uniform)
    return scores


def mix(values: NDArray[numpy.uint64]) -> NDArray[numpy.uint64]:
    """SplitMix64's finaliser: every input bit moves every output bit."""
    values = (values ^ (values >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return values ^ (values >> numpy.uint64(31))


def minus_logarithm(values: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """-ln of values in (0, 1), from additions, multiplications and divisions only.

    Those are exact to the last bit on every processor; a library's logarithm is not, and two machines that
    differ in one bit could disagree on who owns a slot.
    """
    mantissa, exponent = numpy.frexp(values)
    small = mantissa < SQUARE_ROOT_HALF
    mantissa = numpy.where(small, mantissa * 2, mantissa)
    ratio = (mantissa - 1) / (mantissa + 1)
    square = ratio * ratio
    series = numpy.zeros_like(ratio)
    for divisor in range(LOGARITHM_TERMS * 2 - 1, 0, -2):
        series = series * square + 1.0 / divisor
    result: NDArray[numpy.float64] = -((exponent - small) * LOGARITHM_OF_2 + 2 * ratio * series)
    return result
