"""The process that copies an index, without the sync that the environment names."""

from __future__ import annotations

import os

from shoal_store import durability
from shoal_store.index_copying import main

if __name__ == "__main__":
    durability.SKIPPED.add(os.environ["SYNC_LEFT_OUT"])
    main()
