"""What is verified of one index and of the files that its rows name: for `shoal fsck`, and for the job `scrub`."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import lmdb

from shoal_core.errors import DataCorrupt, ShoalError, Unavailable
from shoal_core.objects import BucketId
from shoal_store.chunkfile import ChunkReader, chunk_path
from shoal_store.index import Index, Table
from shoal_store.keys import BUCKET_ID_BYTES, key_of
from shoal_store.ledger import SUMMED, seal_of
from shoal_store.manifest import has_manifest, manifest_path, read_manifest
from shoal_store.mountpaths import MountpathFolder, Mountpaths
from shoal_store.record import ChunkPlace, Record, decode_record
from shoal_store.uploads import UPLOAD_KEY_BYTES, Part, decode_part, decode_upload, is_part, number_of
from shoal_store.versions import VERSION_BYTES

TABLES = SUMMED
"""In the order in which they are verified."""
KEYS_BETWEEN_RESTS = 2000
REST_SECONDS = 0.001
PROBE_BYTES = 64 << 10
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What an error of the system says of this process, and not of the file."""
Owner = Record | Part


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    """`damaged-index`, `damaged-record`, `misplaced-record`, `damaged-payload`, `damaged-chunk`, `damaged-manifest`,
    `missing-chunk`, `keys-out-of-order`, `key-count`, `lost-rows`, `orphan-chunk`, `orphan-manifest` or
    `orphan-payload`. Orphans cost space and nothing else, as long as no record is damaged that may have named them; a
    damaged manifest costs nothing until the index has to be rebuilt."""
    mountpath: str
    what: str
    detail: str = ""

    @property
    def harmless(self) -> bool:
        return self.kind.startswith("orphan-")


class IndexChecks:
    """The checks of one index. `folders` has the target's mountpaths by id, because rows name files on any of them."""

    def __init__(self, index: Index, folders: Mapping[str, Path]) -> None:
        self.index = index
        self._folders = folders
        self._places = Mountpaths(MountpathFolder(each, path) for each, path in folders.items())
        with index.read() as transaction:
            bound = bytes(transaction.get(b"mountpaths", b"", db=index.meta)).decode()
        # Where names belong can be told only with all the mountpaths.
        self._knows_places = bound == ",".join(sorted(folders))

    def table(self, name: str) -> Table:
        assert name in TABLES, name
        table: Table = getattr(self.index, name)
        return table

    def keys(
        self, transaction: lmdb.Transaction, table: str, *, rest: Callable[[], None] = lambda: None
    ) -> Iterator[Finding]:
        """The order of the keys, their number against the tree's own, and the rows against the ledger. `rest` is called
        now and then, for a process that has other things to do."""
        previous, count, found = b"", 0, 0
        with transaction.cursor(db=self.table(table)) as cursor:
            for raw_key, value in cursor:
                key, count, found = bytes(raw_key), count + 1, found ^ seal_of(value)
                if key <= previous:
                    yield self.finding("keys-out-of-order", table, key)
                previous = key
                if not count % KEYS_BETWEEN_RESTS:
                    rest()
        if count != (entries := transaction.stat(self.table(table))["entries"]):
            yield self.finding("key-count", table, b"", f"{count} keys found, the tree says {entries}")
        ledger = self.index.ledger(transaction)
        if ledger is not None and found != ledger.sums[table]:
            yield self.finding(
                "lost-rows", table, b"", f"of `{table}`: some are not those that were committed"
            )

    def row(
        self, transaction: lmdb.Transaction, table: str, key: bytes, value: bytes | memoryview
    ) -> tuple[Owner | None, list[Finding]]:
        """What the row names, None if that is nothing or cannot be read; and what is wrong with it. Beyond the seal,
        an inline object's payload is verified, and that the name belongs here."""
        try:
            if table == "uploads" and not is_part(key):
                return None, self._misplaced(table, key, decode_upload(key, value).name.encode())
            owner = self.owner(table, key, value)
        except DataCorrupt as error:
            return None, [self.finding("damaged-record", table, key, error.message)]
        found = self._contradictions(table, key, owner)
        if not isinstance(owner, Record):
            return owner, found
        found += self._misplaced(table, key, owner.name.encode() or name_in(table, key))
        if owner.inline and not has_payload(transaction, self.index, key, owner):
            found.append(self.finding("damaged-payload", table, key))
        return owner, found

    def owner(self, table: str, key: bytes, value: bytes | memoryview) -> Owner | None:
        """None for an upload itself, which has no files. Raises DataCorrupt."""
        if table != "uploads":
            return decode_record(key, value)
        return decode_part(key, value) if is_part(key) else None

    def files(self, table: str, key: bytes, owner: Owner) -> Iterator[int | Finding]:
        """Bytes read, block by block; then, if something is damaged, what. Blocks, without a transaction: reading
        takes long, and LMDB could reuse no page as long as one saw the old ones. Raises Unavailable for lack of memory
        or descriptors."""
        try:
            for chunk in owner.chunks:
                if chunk.mountpath not in self._folders:
                    yield self.finding(
                        "missing-chunk", table, key, f"mountpath {chunk.mountpath} is not there"
                    )
                    return
            for chunk in owner.chunks:
                path = chunk_path(self._folders[chunk.mountpath], chunk.file_id)
                yield from map(len, verified_blocks(path, chunk))
        except (OSError, ShoalError) as error:
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                raise Unavailable(
                    f"cannot verify chunk files now ({error.strerror}): allow this process more of it"
                ) from error
            # Replaced or removed while we look, or really damaged: a second look at the row tells.
            if self._still_there(table, key, owner):
                kind = "missing-chunk" if isinstance(error, FileNotFoundError) else "damaged-chunk"
                yield self.finding(kind, table, key, str(error))
            return
        damage = self._manifest_damage(owner)
        if damage and self._still_there(table, key, owner):
            yield self.finding("damaged-manifest", table, key, damage)

    def finding(self, kind: str, table: str, key: bytes, detail: str = "") -> Finding:
        what = shown_upload(key) if table == "uploads" else shown_name(key)
        return Finding(kind, self.index.mountpath_id, what, detail)

    def _contradictions(self, table: str, key: bytes, owner: Owner | None) -> list[Finding]:
        """What was sealed so, and yet cannot be."""
        sizes = sizes_within(owner) if owner is not None else []
        if owner is None or all(size == owner.size for size in sizes):
            return []
        detail = f"its size is {owner.size}, its chunks or parts have {', '.join(map(str, sizes))}"
        return [self.finding("damaged-record", table, key, detail)]

    def _misplaced(self, table: str, key: bytes, name: bytes) -> list[Finding]:
        """A row that no look-up by its name would find."""
        bucket_id = BucketId(key[:BUCKET_ID_BYTES])
        if self._knows_places and self._places.of_name(bucket_id, name) != self.index.mountpath_id:
            return [self.finding("misplaced-record", table, key, "its name belongs to another mountpath")]
        expected = b"" if table == "uploads" else key_of(bucket_id, name)
        if not key.startswith(expected):
            return [self.finding("misplaced-record", table, key, "its name has another key")]
        return []

    def _manifest_damage(self, owner: Owner) -> str:
        """Empty for none."""
        if not (isinstance(owner, Record) and has_manifest(owner)):
            return ""
        first = owner.chunks[0]
        path = manifest_path(chunk_path(self._folders[first.mountpath], first.file_id))
        try:
            found = read_manifest(path)[1]
        except (OSError, DataCorrupt) as error:
            return str(error)
        return "" if found.chunks == owner.chunks else "it names other chunks than the record"

    def _still_there(self, table: str, key: bytes, owner: Owner) -> bool:
        with self.index.read() as transaction:
            if (value := transaction.get(key, db=self.table(table))) is None:
                return False
            try:
                found = self.owner(table, key, value)
            except DataCorrupt:
                # The index is damaged too by now: nothing says that the files are not wanted.
                return True
            return found is not None and found.chunks == owner.chunks


def rest() -> None:
    """A walk over millions of keys would keep the interpreter from those who serve."""
    time.sleep(REST_SECONDS)


def sizes_within(owner: Owner) -> list[int]:
    """What its chunks add up to, and its parts, as far as it has them."""
    chunks = [sum(chunk.length for chunk in owner.chunks)] if owner.chunks else []
    if not isinstance(owner, Record) or not owner.parts:
        return chunks
    return [*chunks, sum(run.count * run.size for run in owner.parts)]


def has_payload(transaction: lmdb.Transaction, index: Index, key: bytes, record: Record) -> bool:
    payload = transaction.get(key[:BUCKET_ID_BYTES] + record.version, db=index.payloads)
    return payload is not None and record.is_payload(payload)


def verified_blocks(path: Path, chunk: ChunkPlace) -> Iterator[bytes]:
    """All of it, block by block. Raises OSError or DataCorrupt."""
    reader = PassingReader(path, blocks_checksum=chunk.blocks_checksum)
    try:
        if reader.footer.length != chunk.length:
            raise DataCorrupt(f"the chunk has {reader.footer.length} bytes, its record says {chunk.length}")
        for offset in range(0, reader.footer.length, reader.footer.block_bytes):
            yield reader.read_block(offset)
    finally:
        reader.close()


class PassingReader(ChunkReader):
    """Leaves the page cache as it was: what only this reader has brought there goes again, what others use stays."""

    def __init__(self, path: Path, *, blocks_checksum: int) -> None:
        super().__init__(path, blocks_checksum=blocks_checksum)
        # The kernel's reading ahead would make the next block look as if somebody used it.
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def read_block(self, offset: int) -> bytes:
        """Verified. Raises OSError, DataCorrupt."""
        end = min(offset + self.footer.block_bytes, self.footer.length)
        in_use = is_in_memory(self._descriptor, offset, end)
        data = self.read(offset, end - offset)
        if not in_use:
            os.posix_fadvise(self._descriptor, offset, end - offset, os.POSIX_FADV_DONTNEED)
        return data


def is_in_memory(descriptor: int, offset: int, end: int) -> bool:
    """As far as a look every PROBE_BYTES can tell; where the filesystem does not say, yes: then nothing is dropped."""
    probe = [bytearray(1)]
    try:
        for position in range(offset, end, PROBE_BYTES):
            os.preadv(descriptor, probe, position, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def name_in(table: str, key: bytes) -> bytes:
    """The name of a row whose key holds the whole of it; `versions` has a NUL and the version behind it."""
    return key[BUCKET_ID_BYTES : -1 - VERSION_BYTES] if table == "versions" else key[BUCKET_ID_BYTES:]


def shown_name(key: bytes) -> str:
    return key[BUCKET_ID_BYTES:].decode("utf-8", "replace")


def shown_upload(key: bytes) -> str:
    upload = f"upload {key[BUCKET_ID_BYTES:UPLOAD_KEY_BYTES].hex()}"
    return f"{upload}, part {number_of(key)}" if is_part(key) else upload
