"""Storage: the engine on its mountpaths behind the gRPC object and chunk services."""
