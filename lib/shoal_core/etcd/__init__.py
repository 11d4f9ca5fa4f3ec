"""etcd over grpc.aio: `client` (reads, writes, transactions), `lease`, `watch`, `mirror`, `election`.

Why our own: docs/decisions/0001-own-etcd-client.md.
"""
