"""The storage engine: many processes of a host read, one process, the target, commits."""
