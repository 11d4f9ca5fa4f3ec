"""The gRPC-native Python client: takes the map from a proxy and talks to the targets."""
