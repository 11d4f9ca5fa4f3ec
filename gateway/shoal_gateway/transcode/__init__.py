"""gRPC as JSON under `/-/api/v1/`: every RPC with a `google.api.http` rule, as Envoy's transcoder would serve it."""
