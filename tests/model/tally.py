"""What a run has done, for its report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    steps: int = 0
    refusals: int = 0
    """Operations that model and store refused with the same error."""
