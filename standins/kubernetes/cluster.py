"""The connection to the API server that all operations share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from inferstack.k8s import ApiError, KubeClient, KubeconfigError, UnknownKindError
from standins.kubernetes import tokens
from standins.kubernetes.inflight import InFlight
from standins.kubernetes.settings import Settings
from standins.kubernetes.watches import Watches

# Requests are short: more connections than this only cost handshakes. A watch holds its connection while it lasts.
_CONNECTIONS = 16
_WATCHES = 256


class UnreachableError(Exception):
    """The API server cannot be reached; the message says where it was looked for."""


class Cluster:
    """One API server: the client (connected on first use), its watches, and the scopes of the program's own kinds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.in_flight = InFlight.of_engine()
        self._client: KubeClient | None = None
        self._connecting = asyncio.Lock()
        self._watches: Watches | None = None
        self._scopes: dict[tuple[str, str], bool] = {}

    async def client(self) -> KubeClient:
        """Return the client.

        Raises:
            UnreachableError: the kubeconfig leads nowhere.
        """
        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await KubeClient.connect(
                        self.settings.kubeconfig, context=self.settings.context, pool=_CONNECTIONS
                    )
                except KubeconfigError as error:
                    raise UnreachableError(str(error)) from error
            return self._client

    async def watches(self) -> Watches:
        """Return the shared watches."""
        if self._watches is None:
            client = await self.client()
            self._watches = Watches(KubeClient(client.access, pool=_WATCHES))
        return self._watches

    async def close(self) -> None:
        """Close all connections."""
        if self._watches is not None:
            await self._watches.close()
        if self._client is not None:
            await self._client.close()

    async def namespaced(self, gvk: tokens.Gvk) -> bool:
        """Return whether a kind is namespaced: as every server has it, as the program's CRD says, else as served.

        A kind that nobody knows yet is taken to be namespaced; its creation puts that right.
        """
        known = tokens.known_scope(gvk)
        if known is None:
            known = self._scopes.get((gvk.group, gvk.kind))
        if known is None:
            try:
                known = (await (await self.client()).resource(gvk.api_version, gvk.kind)).namespaced
            except (UnknownKindError, UnreachableError, ApiError, aiohttp.ClientError, TimeoutError):
                known = True
        return known

    def learn(self, definition: Mapping[str, Any]) -> None:
        """Remember the scope of a kind that the program itself defines."""
        spec = definition.get("spec")
        if not isinstance(spec, dict):
            return
        names = spec.get("names")
        kind = names.get("kind") if isinstance(names, dict) else None
        group, scope = spec.get("group"), spec.get("scope")
        if isinstance(group, str) and isinstance(kind, str) and isinstance(scope, str):
            self._scopes[(group, kind)] = scope == "Namespaced"

    async def serves(self, gvk: tokens.Gvk) -> bool:
        """Return whether the server knows a kind."""
        try:
            await (await self.client()).resource(gvk.api_version, gvk.kind)
        except UnknownKindError:
            return False
        return True
