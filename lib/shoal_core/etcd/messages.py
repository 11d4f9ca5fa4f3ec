"""Between the nouns of `values` and the messages on etcd's wire."""

from __future__ import annotations

from collections.abc import Iterable

from shoal.etcd.v1 import etcd_pb2
from shoal_core.etcd.values import (
    NO_LEASE,
    Absent,
    Condition,
    CreateRevisionEquals,
    Delete,
    DeletePrefix,
    Get,
    KeyRange,
    KeyValue,
    LeaseId,
    ModRevisionEquals,
    Operation,
    OperationResult,
    Put,
    TransactionResult,
    ValueEquals,
    WatchEvent,
    check_value,
    encode_key,
    prefix_range,
    single_key,
)

# Enum values of etcd's rpc.proto and kv.proto.
COMPARE_EQUAL = 0
TARGET_CREATE_REVISION, TARGET_MOD_REVISION, TARGET_VALUE = 1, 2, 3
EVENT_DELETE = 1


def key_value(message: etcd_pb2.KeyValue) -> KeyValue:
    return KeyValue(
        key=message.key.decode(errors="surrogateescape"),
        value=message.value,
        create_revision=message.create_revision,
        mod_revision=message.mod_revision,
        version=message.version,
        lease_id=LeaseId(message.lease),
    )


def watch_event(message: etcd_pb2.Event) -> WatchEvent:
    current = None if message.type == EVENT_DELETE else key_value(message.kv)
    return WatchEvent(message.kv.key.decode(errors="surrogateescape"), message.kv.mod_revision, current)


def put_request(key: str, value: bytes, *, lease_id: LeaseId = NO_LEASE) -> etcd_pb2.PutRequest:
    return etcd_pb2.PutRequest(key=encode_key(key), value=check_value(key, value), lease=lease_id)


def delete_request(keys: KeyRange) -> etcd_pb2.DeleteRangeRequest:
    return etcd_pb2.DeleteRangeRequest(key=keys.start, range_end=keys.end)


def compare(condition: Condition) -> etcd_pb2.Compare:
    message = etcd_pb2.Compare(result=COMPARE_EQUAL, key=encode_key(condition.key))
    match condition:
        case ModRevisionEquals(mod_revision=revision):
            message.target, message.mod_revision = TARGET_MOD_REVISION, revision
        case CreateRevisionEquals(create_revision=revision):
            message.target, message.create_revision = TARGET_CREATE_REVISION, revision
        case ValueEquals(value=value):
            message.target, message.value = TARGET_VALUE, value
        case Absent():
            message.target, message.create_revision = TARGET_CREATE_REVISION, 0
    return message


def request_operation(operation: Operation) -> etcd_pb2.RequestOp:
    match operation:
        case Put(key=key, value=value, lease_id=lease_id):
            return etcd_pb2.RequestOp(request_put=put_request(key, value, lease_id=lease_id))
        case Delete(key=key):
            return etcd_pb2.RequestOp(request_delete_range=delete_request(single_key(key)))
        case DeletePrefix(prefix=prefix):
            return etcd_pb2.RequestOp(request_delete_range=delete_request(prefix_range(prefix)))
        case Get(key=key):
            return etcd_pb2.RequestOp(request_range=etcd_pb2.RangeRequest(key=encode_key(key)))


def transaction_request(
    conditions: Iterable[Condition], then: Iterable[Operation], *, otherwise: Iterable[Operation]
) -> etcd_pb2.TxnRequest:
    return etcd_pb2.TxnRequest(
        compare=[compare(condition) for condition in conditions],
        success=[request_operation(operation) for operation in then],
        failure=[request_operation(operation) for operation in otherwise],
    )


def transaction_result(message: etcd_pb2.TxnResponse) -> TransactionResult:
    responses = tuple(operation_result(response) for response in message.responses)
    return TransactionResult(message.succeeded, message.header.revision, responses)


def operation_result(message: etcd_pb2.ResponseOp) -> OperationResult:
    # A field of the oneof that is not set reads as an empty message, which is what "nothing" looks like here.
    items = tuple(key_value(item) for item in message.response_range.kvs)
    return OperationResult(items=items, deleted=message.response_delete_range.deleted)
