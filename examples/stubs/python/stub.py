"""Another service in Python: nothing of Shoal but its protos. `./run` generates what this imports."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import crc32c
import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from shoal.bucket.v1 import bucket_pb2 as bucket, bucket_pb2_grpc
from shoal.common.v1.common_pb2 import BucketReference, Checksum
from shoal.object.v1 import object_pb2 as objects, object_pb2_grpc

SIZE, FRAME = 10 << 20, 1 << 20  # bytes; no frame may hold more than 1 MiB
PHOTOS = BucketReference(name="stub-python")


def upload(name: str, body: bytes, sha256: str) -> Iterator[objects.PutObjectRequest]:
    """One specification, the frames, one finish."""
    checksums = [Checksum(type="sha256", value=sha256)]
    what = objects.PutObjectSpecification(bucket=PHOTOS, name=name, size=len(body), checksums=checksums)
    yield objects.PutObjectRequest(specification=what)
    for offset in range(0, len(body), FRAME):
        data = body[offset : offset + FRAME]
        frame = objects.Frame(offset=offset, data=data, crc32c=crc32c.crc32c(data))
        yield objects.PutObjectRequest(frame=frame)
    yield objects.PutObjectRequest(finish=objects.PutObjectFinish(size=len(body)))


def download(store: object_pb2_grpc.ObjectServiceStub, name: str) -> bytes:
    """The record first, then frames; each frame is checked, and then the whole."""
    stream = store.GetObject(objects.GetObjectRequest(bucket=PHOTOS, name=name), timeout=60)
    record, body = next(stream).object, bytearray()
    for message in stream:
        frame = message.frame
        if (frame.offset, frame.crc32c) != (len(body), crc32c.crc32c(frame.data)):
            raise ValueError(f"{name}: a damaged frame at {frame.offset}")
        body += frame.data
    if record.checksum != Checksum(type="sha256", value=hashlib.sha256(body).hexdigest()):
        raise ValueError(f"{name}: what arrived is not what is stored")
    return bytes(body)


def reason(error: grpc.RpcError) -> str:
    """The `ErrorReason` of a failed call without its prefix, or "" when the failure is not Shoal's own."""
    info, status = ErrorInfo(), rpc_status.from_call(error)
    found = status and any(detail.Unpack(info) and info.domain == "shoal" for detail in status.details)
    return info.reason if found else ""


def main() -> None:
    credentials = grpc.ssl_channel_credentials(Path(os.environ["SHOAL_CA"]).read_bytes())
    with grpc.secure_channel(os.environ["SHOAL_GRPC"], credentials) as channel:
        buckets = bucket_pb2_grpc.BucketServiceStub(channel)
        store = object_pb2_grpc.ObjectServiceStub(channel)
        wanted = bucket.BucketProperties(checksum_type="sha256")
        try:
            buckets.CreateBucket(bucket.CreateBucketRequest(bucket=PHOTOS, properties=wanted), timeout=30)
        except grpc.RpcError as error:
            if reason(error) != "BUCKET_ALREADY_EXISTS":  # it is there from our last run
                raise
        body = os.urandom(SIZE)
        put = store.PutObject(upload("cats/1.raw", body, hashlib.sha256(body).hexdigest()), timeout=60)
        assert download(store, "cats/1.raw") == body
        page = store.ListObjects(objects.ListObjectsRequest(bucket=PHOTOS, prefix="cats/"), timeout=30)
        print(*(f"{entry.name} {entry.size} {entry.version}" for entry in page.objects), sep="\n")
        assert [entry.version for entry in page.objects] == [put.object.version]
        try:
            download(store, "dogs/1.raw")
        except grpc.RpcError as error:
            if reason(error) != "OBJECT_NOT_FOUND":
                raise
            print(f"python: {SIZE} bytes put, got and listed; then {reason(error)}")


if __name__ == "__main__":
    main()
