"""The bench: Shoal and its peers in turn on the same work, as ratios. `make bench`; see docs/bench.md."""
