"""What two or more services need: errors, configuration, RPC, etcd, cluster map, placement, telemetry."""
