"""Answers to the engine that more than one kind of resource gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

import grpc
import grpc.aio
from google.protobuf import struct_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from standins.kubernetes.diff import Change
from standins.kubernetes.errors import PartialError

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def differences(
    changes: Mapping[str, Change], *, delete_first: bool = False, also_replaces: tuple[str, ...] = ()
) -> provider_pb2.DiffResponse:
    """Return the answer to a diff.

    Args:
        changes: by property path.
        delete_first: a replacement has to wait for the deletion, as it takes the same name.
        also_replaces: paths that ask for a replacement though they do not change.
    """
    some = bool(changes or also_replaces)
    response = provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=[*(path for path, change in changes.items() if change.replace), *also_replaces],
        deleteBeforeReplace=delete_first,
        hasDetailedDiff=True,
    )
    for path, change in changes.items():
        response.detailedDiff[path].kind = _KINDS[(change.kind, change.replace)]
        response.detailedDiff[path].inputDiff = change.kind == "delete"
    return response


async def fail(context: Context, message: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> NoReturn:
    """Answer that the operation failed and changed nothing."""
    await context.abort(code, message)


async def partially(
    context: Context,
    identity: str,
    error: PartialError,
    state: struct_pb2.Struct,
    inputs: struct_pb2.Struct | None,
) -> NoReturn:
    """Answer that the object exists but is not as it should be; the engine keeps its state with the reasons."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=identity, properties=state, reasons=[str(error), *(r for r in error.reasons if r != str(error))]
    )
    if inputs is not None:
        detail.inputs.CopyFrom(inputs)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(detail)
    await context.abort(
        grpc.StatusCode.UNKNOWN,
        str(error),
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
