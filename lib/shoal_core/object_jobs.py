"""Jobs over many objects of a bucket: which objects, and what becomes of them.

`JobSpecification.arguments` holds `ObjectsArguments`. A list of names can be longer than a value in etcd should be, so
it is kept beside the job, in pieces, under JOB_NAMES_PREFIX, until the job has ended.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from shoal_core.errors import DataCorrupt, InvalidArgument
from shoal_core.jobs import JobBoard, JobSpecification, JobState
from shoal_core.name_template import NameTemplate
from shoal_core.names import checked_object_name
from shoal_core.objects import BucketId, BucketReference

if TYPE_CHECKING:
    from shoal_core.etcd.client import EtcdClient

DELETE_OBJECTS = "delete-listrange"
COPY_OBJECTS = "copy-listrange"
COPY_BUCKET = "copy-bck"
ARCHIVE = "archive"
OBJECT_JOBS = (DELETE_OBJECTS, COPY_OBJECTS, COPY_BUCKET, ARCHIVE)

JOB_NAMES_PREFIX = "/shoal/v1/job-names/"
PIECE_NAMES = 2000
PIECE_BYTES_MAX = 60 << 10
LISTED_NAMES_MAX = 100_000
LISTED_BYTES_MAX = 1 << 20
WORKERS_DEFAULT = 8
WORKERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects: those listed, those that the template names, or all whose names begin with `prefix`."""

    names: Sequence[str] = ()
    template: str = ""
    prefix: str = ""

    def checked(self) -> Selection:
        """Raises InvalidArgument and InvalidName. A template without a range is a prefix, as AIStore has it."""
        if bool(self.names) + bool(self.template) + bool(self.prefix) > 1:
            raise InvalidArgument("objects are selected by a list, a template or a prefix: send one of them")
        for name in self.names:
            checked_object_name(name)
        if len(self.names) > LISTED_NAMES_MAX or sum(map(len, self.names)) > LISTED_BYTES_MAX:
            raise InvalidArgument(
                f"a list has at most {LISTED_NAMES_MAX} names and {LISTED_BYTES_MAX} characters: send several"
            )
        if self.template and not NameTemplate.parse(self.template).ranges:
            return Selection(prefix=self.template)
        return self

    @property
    def is_everything(self) -> bool:
        return not (self.names or self.template or self.prefix)


@dataclass(frozen=True, slots=True)
class ObjectsArguments:
    """JSON in etcd: fields are only ever added, with defaults."""

    template: str = ""
    prefix: str = ""
    listed: int = 0
    """How many names are kept beside the job; 0: they are not listed."""
    to_provider: str = "ais"
    to_namespace: str = ""
    to_name: str = ""
    to_id: str = ""
    """Of the destination's bucket, in hexadecimal."""
    prepend: str = ""
    """Put before the names of copies."""
    extensions: str = ""
    """Of copies: JSON of a map from extension to what takes its place."""
    keep_going: int = 0
    """Whether an object that fails is only counted."""
    dry_run: int = 0
    workers: int = 0
    """Objects at a time; 0: WORKERS_DEFAULT."""
    archive: str = ""
    """Name of the archive that is written."""
    mime: str = ""
    with_bucket: int = 0
    """Whether members are named after their bucket too."""
    append: int = 0
    """Whether an archive of that name is gone on with, instead of replaced."""

    @property
    def to_reference(self) -> BucketReference:
        return BucketReference(self.to_name, self.to_provider, self.to_namespace)

    @property
    def to_bucket_id(self) -> BucketId:
        return BucketId(bytes.fromhex(self.to_id))

    @property
    def workers_in_effect(self) -> int:
        """Negative: one at a time, as AIStore has it."""
        return 1 if self.workers < 0 else min(self.workers or WORKERS_DEFAULT, WORKERS_MAX)

    @classmethod
    def of(cls, specification: JobSpecification) -> ObjectsArguments:
        """Raises DataCorrupt."""
        try:
            return msgspec.convert(specification.arguments, cls)
        except msgspec.ValidationError as error:
            raise DataCorrupt(f"the arguments of a job cannot be read: {error}") from error


def arguments_of(arguments: ObjectsArguments) -> Mapping[str, str | int]:
    """Without what is as it is by default."""
    plain = ObjectsArguments()
    values: dict[str, str | int] = msgspec.to_builtins(arguments)
    return {name: value for name, value in values.items() if value != getattr(plain, name)}


async def keep_names(etcd: EtcdClient, job_id: str, names: Sequence[str]) -> None:
    """Before the job is made, so that whoever sees it finds them."""
    for number, piece in enumerate(pieces_of(names)):
        await etcd.put(f"{JOB_NAMES_PREFIX}{job_id}/{number:06}", piece)


async def names_of(etcd: EtcdClient, job_id: str) -> Sequence[str]:
    """Raises DataCorrupt."""
    found: list[str] = []
    for item in (await etcd.get_prefix(f"{JOB_NAMES_PREFIX}{job_id}/")).items:
        try:
            found += msgspec.msgpack.decode(zlib.decompress(item.value), type=list[str])
        except (zlib.error, msgspec.DecodeError) as error:
            raise DataCorrupt(f"etcd key {item.key} holds no names: {error}") from error
    return found


async def forget_names(etcd: EtcdClient, board: JobBoard) -> None:
    """Of jobs that have ended. Names whose job is not made yet were looked up before the jobs, and are kept."""
    keys = [item.key for item in (await etcd.get_prefix(JOB_NAMES_PREFIX)).items]
    states = {job.id: job.state for job in await board.list()} if keys else {}
    ended = {job_id for job_id, state in states.items() if state is not JobState.RUNNING}
    for job_id in ended & {key.removeprefix(JOB_NAMES_PREFIX).partition("/")[0] for key in keys}:
        await etcd.delete_prefix(f"{JOB_NAMES_PREFIX}{job_id}/")


def pieces_of(names: Sequence[str]) -> Iterator[bytes]:
    """Each below what etcd should hold in one value; names of 1 KiB that cannot be compressed are cut more finely."""
    for begin in range(0, len(names), PIECE_NAMES):
        yield from packed(names[begin : begin + PIECE_NAMES])


def packed(names: Sequence[str]) -> Iterator[bytes]:
    piece = zlib.compress(msgspec.msgpack.encode(names))
    if len(piece) <= PIECE_BYTES_MAX or len(names) == 1:
        yield piece
        return
    middle = len(names) // 2
    yield from packed(names[:middle])
    yield from packed(names[middle:])
