"""The control plane: cluster map, buckets, jobs, and the object service for plain gRPC stubs."""
