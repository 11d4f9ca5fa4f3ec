"""Which slots this target owns, by the placement, written into every index before it takes effect; and whether it takes
anything new, by its state."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shoal.object.v1.object_pb2 import Routing
from shoal_core.cluster_map import MemberState, state_of
from shoal_core.errors import ControlPlaneDown, DataCorrupt, StaleEpoch
from shoal_core.node import Node
from shoal_core.telemetry import get_logger
from shoal_store.engine import Engine

CATCH_UP_SECONDS_MAX = 2.0
"""How long a call waits for this target to learn what its caller knows already."""

PLACED_SECONDS_MAX = 10.0


class Ownership:
    """Follows the view. Run `follow` as a task, after `wait_until_placed`."""

    def __init__(self, target: str, node: Node, *, engine: Engine) -> None:
        self._target = target
        self._view = node.view
        self._buckets = node.buckets
        self._freshness = node.freshness
        self._engine = engine
        self._epoch = stored_epoch(engine)
        self.state = MemberState.ACTIVE
        """In force here."""
        self._advanced = asyncio.Condition()
        self._applying = asyncio.Lock()

    @property
    def epoch(self) -> int:
        """Of the placement that all indexes hold; 0 when some hold none."""
        return self._epoch

    async def wait_until_placed(self) -> None:
        """Until the placement that holds this target is in its indexes. Raises ControlPlaneDown."""
        try:
            async with asyncio.timeout(PLACED_SECONDS_MAX):
                while self._target not in {target.id for target in self._view.current.targets}:
                    await self._view.changed()
        except TimeoutError as error:
            raise ControlPlaneDown(
                f"the placement with target {self._target} did not arrive in {PLACED_SECONDS_MAX:g} s: is etcd well?"
            ) from error
        await self.apply()

    async def follow(self) -> None:
        while True:
            seen = self._view.current
            await self.apply()
            if self._view.current is seen:
                await self._view.changed()

    async def apply(self) -> None:
        """Take this target's state from the current map, and write its placement into the indexes unless they have it.
        An older placement changes nothing."""
        self.state = state_of(self._view.current, self._target)
        self._engine.take_new(self.state is MemberState.ACTIVE)
        async with self._applying:
            placement = self._view.current.placement
            if placement.epoch <= self._epoch:
                return
            await asyncio.to_thread(self._engine.own, placement.epoch, placement.owned(self._target))
            self._epoch = placement.epoch
        get_logger().info("placement-applied", epoch=placement.epoch)
        async with self._advanced:
            self._advanced.notify_all()

    async def wait_until_fresh(self) -> None:
        """If this process stood still, its slots may be another's by now. And what is known may not be in force yet."""
        await self._freshness.wait()
        if self._view.current.placement.epoch > self._epoch:
            await self.apply()

    async def wait_for(self, epoch: int, timeout_seconds: float) -> None:
        """Until the indexes hold the placement of `epoch` or a later one. Raises StaleEpoch."""
        try:
            async with asyncio.timeout(timeout_seconds), self._advanced:
                await self._advanced.wait_for(lambda: self._epoch >= epoch)
        except TimeoutError as error:
            raise StaleEpoch(
                f"target {self._target} has placement {self._epoch} and not yet {epoch}: repeat shortly",
                epoch=str(self._epoch),
            ) from error

    async def admit(self, routing: Routing) -> None:
        """Refuse a caller that chose this target by an old map; catch up with one that knows more."""
        await self.wait_until_fresh()
        if not routing.placement_epoch:
            return
        if routing.placement_epoch > self._epoch:
            await self.wait_for(routing.placement_epoch, CATCH_UP_SECONDS_MAX)
        if routing.placement_epoch < self._epoch:
            raise StaleEpoch(
                f"target {self._target} was chosen by placement {routing.placement_epoch}, and placement "
                f"{self._epoch} is in force: fetch the cluster map and repeat",
                epoch=str(self._epoch),
            )
        if routing.bucket_generation > self._buckets.revision:
            # Without etcd the bucket as it is known must do: reads go on.
            with suppress(ControlPlaneDown):
                await self._buckets.wait_for_revision(routing.bucket_generation, CATCH_UP_SECONDS_MAX)


def stored_epoch(engine: Engine) -> int:
    """0 when an index holds none, or a damaged one: it is written anew then."""
    indexes = engine.indexes.available()
    epochs = [0] * len(indexes)
    for number, index in enumerate(indexes):
        with suppress(DataCorrupt), index.read() as transaction:
            epochs[number] = index.owned(transaction).epoch
    return min(epochs, default=0)
