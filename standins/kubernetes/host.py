"""What the provider tells the engine while it works: log lines, and the status beside a resource."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class Host:
    """The engine's logging service."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stub: Any = None

    async def _log(self, text: str, urn: str, severity: engine_pb2.LogSeverity.ValueType, *, ephemeral: bool) -> None:
        if self._stub is None:
            self._stub = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(self._address))
        request = engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=ephemeral)
        with contextlib.suppress(grpc.aio.AioRpcError):  # an engine that is going away needs no message
            await self._stub.Log(request)

    async def warn(self, urn: str, text: str) -> None:
        """Log a warning that stays."""
        await self._log(text, urn, engine_pb2.WARNING, ephemeral=False)

    def teller(self, urn: str) -> Callable[[str], Awaitable[None]]:
        """Return a function that shows one line beside a resource for as long as it works; "" clears it."""
        shown = False

        async def tell(text: str) -> None:
            nonlocal shown
            if text or shown:
                shown = bool(text)
                await self._log(text, urn, engine_pb2.INFO, ephemeral=True)

        return tell
