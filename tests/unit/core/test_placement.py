"""Slots: balanced by weight, moved no more than needed, the same in every process."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy
import pytest

from shoal_core.objects import BucketId
from shoal_core.placement import SLOTS, PlacedTarget, Placement, slot_of
from shoal_core.ranking import minus_logarithm

BUCKET = BucketId(b"12345678")


def placed(*weights: float) -> Placement:
    return Placement.of(1, [PlacedTarget(f"t{i}", weight) for i, weight in enumerate(weights, 1)])


def primaries(placement: Placement) -> list[str]:
    return [placement.primary(slot) for slot in range(SLOTS)]


def test_names_spread_over_all_slots() -> None:
    slots = Counter(slot_of(BUCKET, f"train/{number:06}.jpg") >> 12 for number in range(32_000))
    assert len(slots) == 16
    assert all(1_800 < count < 2_200 for count in slots.values())


def test_slot_depends_on_bucket_and_name_and_never_changes() -> None:
    assert slot_of(BUCKET, "a") == 4_738
    assert slot_of(BUCKET, "é") == 9_807
    assert slot_of(BucketId(b"87654321"), "a") == 47_066


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, 2.0, 5.0), (4e12, 8e12, 8e12, 1e12)])
def test_shares_are_proportional_to_weights(weights: tuple[float, ...]) -> None:
    shares = Counter(primaries(placed(*weights)))
    for number, weight in enumerate(weights, 1):
        assert shares[f"t{number}"] / SLOTS == pytest.approx(weight / sum(weights), rel=0.05)


def test_new_target_takes_slots_and_nothing_else_moves() -> None:
    before, after = primaries(placed(1, 1, 1)), primaries(placed(1, 1, 1, 1))
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"t4"}
    assert len(moved) / SLOTS == pytest.approx(1 / 4, rel=0.05)


def test_slots_of_a_leaving_target_go_to_the_next_in_rank() -> None:
    before, after = placed(1, 1, 1), placed(1, 1)
    for slot in range(0, SLOTS, 97):
        assert after.rank(slot) == tuple(target for target in before.rank(slot) if target != "t3")


def test_rank_takes_one_of_each_failure_domain_first() -> None:
    domains = {"t1": "rack-a", "t2": "rack-a", "t3": "rack-b", "t4": "rack-b", "t5": "rack-c"}
    placement = Placement.of(1, [PlacedTarget(target, 1.0, domain) for target, domain in domains.items()])
    for slot in range(0, SLOTS, 997):
        rank = placement.rank(slot)
        assert sorted(rank) == sorted(domains)
        assert {domains[target] for target in rank[:3]} == {"rack-a", "rack-b", "rack-c"}
        assert rank[0] == placement.primary(slot)


def test_bitmaps_of_all_targets_cover_each_slot_once() -> None:
    placement = placed(1, 2, 3)
    bitmaps = {target.id: placement.owned(target.id) for target in placement.targets}
    for slot in range(SLOTS):
        owners = [target for target, bits in bitmaps.items() if bits[slot >> 3] >> (slot & 7) & 1]
        assert owners == [placement.primary(slot)]


def test_target_that_is_not_placed_owns_nothing() -> None:
    assert placed(1).owned("t2") == bytes(SLOTS // 8)
    assert Placement.of(1, []).owned("t1") == bytes(SLOTS // 8)


def test_order_of_targets_does_not_matter() -> None:
    targets = [PlacedTarget(f"t{number}", number) for number in range(1, 6)]
    assert primaries(Placement(1, Placement.of(1, targets).targets)) == primaries(
        Placement(1, Placement.of(1, reversed(targets)).targets)
    )


def test_every_process_computes_the_same() -> None:
    code = (
        "import hashlib; from shoal_core.placement import PlacedTarget as T, Placement;"
        "placement = Placement.of(1, [T('t1', 1.0), T('t2', 2.0), T('t3', 3.0)]);"
        "print(hashlib.sha256(b''.join(placement.owned(t) for t in ('t1', 't2', 't3'))).hexdigest())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert answer.stdout.strip() == "99070782e1eca7afcd520a72dda76533762117b51e98892530b546d22eb18535"


def test_own_logarithm_is_as_good_as_the_library() -> None:
    values = numpy.random.default_rng(1).random(100_000)
    values = numpy.append(values[values > 0], [2.0**-54, 1 - 2.0**-53, 0.5, 0.7071067811865476])
    assert numpy.max(numpy.abs(minus_logarithm(values) / -numpy.log(values) - 1)) < 1e-15
