"""What the provider sends to the engine: responses that several resource types share, log messages and status lines."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import grpc
import grpc.aio
from google.protobuf import struct_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, status_pb2

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


def diff_response(
    changes: Mapping[str, Change], *, delete_first: bool = False, also_replaces: tuple[str, ...] = ()
) -> provider_pb2.DiffResponse:
    """Return the response to a `Diff` call.

    Args:
        changes: the changed properties by path.
        delete_first: a replacement must delete the old object first, because both have the same name.
        also_replaces: unchanged paths that require a replacement.
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
    """Abort the call: the operation failed and changed nothing."""
    await context.abort(code, message)


async def fail_partially(
    context: Context,
    identity: str,
    error: PartialError,
    state: struct_pb2.Struct,
    inputs: struct_pb2.Struct | None,
) -> NoReturn:
    """Abort the call: the object exists but is not ready. The engine stores its state together with the reasons."""
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


class EngineLog:
    """The engine's logging service."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stub: Any = None

    async def _log(self, text: str, urn: str, severity: engine_pb2.LogSeverity.ValueType, *, ephemeral: bool) -> None:
        if self._stub is None:
            self._stub = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(self._address))
        request = engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=ephemeral)
        with contextlib.suppress(grpc.aio.AioRpcError):  # an engine that shuts down needs no message
            await self._stub.Log(request)

    async def warn(self, urn: str, text: str) -> None:
        """Log a warning for a resource."""
        await self._log(text, urn, engine_pb2.WARNING, ephemeral=False)

    def status_reporter(self, urn: str) -> Callable[[str], Awaitable[None]]:
        """Return a function that shows a status line for a resource while it is in progress; "" clears the line."""
        shown = False

        async def report(text: str) -> None:
            nonlocal shown
            if text or shown:
                shown = bool(text)
                await self._log(text, urn, engine_pb2.INFO, ephemeral=True)

        return report
