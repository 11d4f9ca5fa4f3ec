"""Which slots an index holds: `epoch (8 bytes, big-endian) ‖ bitmap (8,192 bytes)`, one value, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from shoal_core.errors import DataCorrupt

BITMAP_BYTES = 8192
EPOCH_BYTES = 8
VALUE_BYTES = EPOCH_BYTES + BITMAP_BYTES


@dataclass(slots=True)
class OwnedSlots:
    encoded: bytes | memoryview

    @classmethod
    def of(cls, value: bytes | memoryview | None) -> OwnedSlots:
        """An index without the value holds nothing."""
        if value is None:
            return cls(bytes(VALUE_BYTES))
        if len(value) != VALUE_BYTES:
            raise DataCorrupt(
                f"the list of an index's slots has {len(value)} bytes, not {VALUE_BYTES}: start the target anew"
            )
        return cls(value)

    @classmethod
    def at(cls, epoch: int, bitmap: bytes) -> OwnedSlots:
        return cls(epoch.to_bytes(EPOCH_BYTES) + bitmap)

    @property
    def epoch(self) -> int:
        return int.from_bytes(self.encoded[:EPOCH_BYTES])

    @property
    def bitmap(self) -> bytes:
        return bytes(self.encoded[EPOCH_BYTES:])

    @property
    def all(self) -> bool:
        return self.bitmap == b"\xff" * BITMAP_BYTES

    def holds(self, slot: int) -> bool:
        return bool(self.encoded[EPOCH_BYTES + (slot >> 3)] & 1 << (slot & 7))
