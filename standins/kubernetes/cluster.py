"""The connection to the API server, shared by all operations."""

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

# Requests are short, so more connections only add handshakes. Each watch occupies a connection.
_CONNECTIONS = 16
_WATCHES = 256


class UnreachableError(Exception):
    """The API server cannot be reached; the message names the kubeconfig."""


class Cluster:
    """One API server: the client, which connects on first use, the watches, and the scopes of the program's CRDs."""

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
            UnreachableError: the kubeconfig is missing or invalid.
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

    async def is_namespaced(self, gvk: tokens.Gvk) -> bool:
        """Return whether a kind is namespaced, according to the built-in kinds, the program's CRDs, or discovery.

        An unknown kind is assumed to be namespaced; the creation removes the namespace from a cluster-scoped object.
        """
        namespaced = tokens.built_in_scope(gvk)
        if namespaced is None:
            namespaced = self._scopes.get((gvk.group, gvk.kind))
        if namespaced is None:
            try:
                namespaced = (await (await self.client()).resource(gvk.api_version, gvk.kind)).namespaced
            except (UnknownKindError, UnreachableError, ApiError, aiohttp.ClientError, TimeoutError):
                namespaced = True
        return namespaced

    def register_crd(self, definition: Mapping[str, Any]) -> None:
        """Store the scope of a kind that the program's CRD defines."""
        spec = definition.get("spec")
        if not isinstance(spec, dict):
            return
        names = spec.get("names")
        kind = names.get("kind") if isinstance(names, dict) else None
        group, scope = spec.get("group"), spec.get("scope")
        if isinstance(group, str) and isinstance(kind, str) and isinstance(scope, str):
            self._scopes[(group, kind)] = scope == "Namespaced"

    async def serves(self, gvk: tokens.Gvk) -> bool:
        """Return whether the server serves a kind."""
        try:
            await (await self.client()).resource(gvk.api_version, gvk.kind)
        except UnknownKindError:
            return False
        return True
