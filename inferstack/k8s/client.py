"""An asynchronous client: one pooled HTTP session, discovery per group version on first use, verbs on plain dicts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.k8s import auth
from inferstack.k8s.errors import ApiError, UnknownKindError

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

_NEW_KIND_SECONDS = 5.0
"""How long a write waits for its kind: discovery lags behind the CRD's condition Established."""


@dataclass(frozen=True)
class ApiResource:
    """A kind as discovery describes it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]
    subresources: frozenset[str]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection, an object or a subresource."""
        base = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [base]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


class KubeClient:
    """A client of one API server. Use as ``async with await KubeClient.connect(...) as kube``.

    Objects are plain dicts in their JSON form. Each verb takes ``api_version`` and ``kind`` (or an object that carries
    them); the plural and the scope come from discovery, cached per group version.

    Raises (all verbs):
        ApiError: the server returned an error.
        UnknownKindError: the kind is not served. `apply` and `create` wait a few seconds for a new kind.
        aiohttp.ClientError, TimeoutError: the server is unreachable.
    """

    def __init__(self, access: auth.Access, *, pool: int = 64, timeout: float = 60) -> None:
        self.access = access
        self._pool = pool
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=10)
        self._session: aiohttp.ClientSession | None = None
        self._discovered: dict[str, dict[str, ApiResource]] = {}
        self._discovering: dict[str, asyncio.Lock] = {}

    @classmethod
    async def connect(
        cls, kubeconfig: Path | Mapping[str, Any] | None = None, *, context: str | None = None, pool: int = 64
    ) -> Self:
        """Resolve credentials: the given kubeconfig, else the pod's service account, else the default kubeconfig."""
        if kubeconfig is None and (inside := auth.in_cluster()):
            return cls(inside, pool=pool)
        config = dict(kubeconfig) if isinstance(kubeconfig, Mapping) else auth.load_kubeconfig(kubeconfig)
        return cls(await auth.from_config_with_plugin(config, context), pool=pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._pool, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session

    def _headers(self) -> dict[str, str]:
        if self.access.token_file:
            return {"Authorization": f"Bearer {self.access.token_file.read_text().strip()}"}
        return dict(self.access.headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send one request and return the decoded response."""
        headers = self._headers()
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":")).encode()
        async with self._http().request(
            method,
            self.access.server + path,
            params=params,
            data=data,
            headers=headers,
            ssl=self.access.tls if self.access.tls else True,
        ) as response:
            text = await response.read()
            if response.status >= 400:
                raise ApiError(response.status, _status_body(text), request=f"{method} {path}")
            return json.loads(text) if text and response.content_type == "application/json" else {"text": text.decode()}

    async def resource(self, api_version: str, kind: str, *, fresh: bool = False) -> ApiResource:
        """Return a kind from the discovery cache, which holds one entry per group version; ``fresh`` refreshes it."""
        lock = self._discovering.setdefault(api_version, asyncio.Lock())
        async with lock:
            resources = self._discovered.get(api_version)
            # The CRD of a missing kind may have been created after the last discovery: refresh before giving up.
            if resources is None or fresh or kind not in resources:
                resources = self._discovered[api_version] = await self._discover(api_version)
        try:
            return resources[kind]
        except KeyError:
            raise UnknownKindError(api_version, kind) from None

    async def _resource_to_write(self, api_version: str, kind: str) -> ApiResource:
        """Return the kind of an object to write, waiting for discovery if its CRD is new."""
        loop = asyncio.get_running_loop()
        deadline, delay = loop.time() + _NEW_KIND_SECONDS, 0.05
        while True:
            try:
                return await self.resource(api_version, kind)
            except UnknownKindError:
                if loop.time() + delay > deadline:
                    raise
            await asyncio.sleep(delay)
            delay = min(delay * 2, 0.5)

    async def _discover(self, api_version: str) -> dict[str, ApiResource]:
        base = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        try:
            listed = (await self.request("GET", base)).get("resources") or []
        except ApiError as error:
            if error.not_found:
                return {}
            raise
        subresources: dict[str, set[str]] = {}
        for entry in listed:
            parent, slash, sub = entry["name"].partition("/")
            if slash:
                subresources.setdefault(parent, set()).add(sub)
        return {
            entry["kind"]: ApiResource(
                api_version=api_version,
                kind=entry["kind"],
                plural=entry["name"],
                namespaced=bool(entry.get("namespaced")),
                verbs=frozenset(entry.get("verbs") or []),
                subresources=frozenset(subresources.get(entry["name"], ())),
            )
            for entry in listed
            if "/" not in entry["name"]
        }

    async def path_of(self, obj: Mapping[str, Any], subresource: str | None = None) -> str:
        """Return the URL path of an object."""
        resource = await self.resource(obj["apiVersion"], obj["kind"])
        meta = obj["metadata"]
        namespace = (meta.get("namespace") or self.access.namespace) if resource.namespaced else None
        return resource.path(namespace, meta["name"], subresource)

    async def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return one object."""
        resource = await self.resource(api_version, kind)
        return await self.request("GET", resource.path(namespace or self.access.namespace, name))

    async def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return one object, or None if the object or its kind does not exist."""
        try:
            return await self.get(api_version, kind, name, namespace)
        except UnknownKindError:
            return None
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> Object:
        """Return all objects of a kind in one namespace or, with None, in all; reads pages of 500."""
        resource = await self.resource(api_version, kind)
        params = {"limit": "500"}
        if labels:
            params["labelSelector"] = labels
        if fields:
            params["fieldSelector"] = fields
        items: list[Object] = []
        while True:
            page = await self.request("GET", resource.path(namespace), params=params)
            items += page.get("items") or []
            token = page.get("metadata", {}).get("continue")
            if not token:
                break
            params["continue"] = token
        for item in items:  # the API server omits them in list items
            item.setdefault("apiVersion", api_version)
            item.setdefault("kind", kind)
        page["items"] = items
        return page

    async def apply(
        self,
        obj: Object,
        *,
        field_manager: str,
        force: bool = True,
        dry_run: bool = False,
        subresource: str | None = None,
    ) -> Object:
        """Server-side apply with strict field validation."""
        params = {"fieldManager": field_manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        await self._resource_to_write(obj["apiVersion"], obj["kind"])
        path = await self.path_of(obj, subresource)
        return await self.request("PATCH", path, params=params, body=obj, content_type=APPLY)

    async def create(self, obj: Object, *, field_manager: str, dry_run: bool = False) -> Object:
        """Create an object with strict field validation; it must not exist."""
        resource = await self._resource_to_write(obj["apiVersion"], obj["kind"])
        params = {"fieldManager": field_manager, "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        namespace = obj["metadata"].get("namespace") or self.access.namespace
        return await self.request("POST", resource.path(namespace), params=params, body=obj)

    async def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        body: Any,
        namespace: str | None = None,
        *,
        content_type: str = MERGE,
        subresource: str | None = None,
        field_manager: str | None = None,
    ) -> Object:
        """Patch one object, by default with a merge patch."""
        resource = await self.resource(api_version, kind)
        path = resource.path(namespace or self.access.namespace, name, subresource)
        params = {"fieldManager": field_manager} if field_manager else None
        return await self.request("PATCH", path, params=params, body=body, content_type=content_type)

    async def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Foreground",
        uid: str | None = None,
    ) -> Object | None:
        """Delete one object, with ``uid`` as an optional precondition; return None if it does not exist."""
        resource = await self.resource(api_version, kind)
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            return await self.request("DELETE", resource.path(namespace or self.access.namespace, name), body=body)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def watch(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        since: str | None = None,
        timeout: int = 300,  # noqa: ASYNC109  # the server enforces it
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (ADDED|MODIFIED|DELETED|BOOKMARK, object) until the server ends the watch after ``timeout`` seconds.

        Raises:
            ApiError: code 410 if ``since`` has expired; list again and watch from the new resourceVersion.
        """
        resource = await self.resource(api_version, kind)
        params = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(timeout)}
        if since:
            params["resourceVersion"] = since
        if labels:
            params["labelSelector"] = labels
        if fields:
            params["fieldSelector"] = fields
        path = resource.path(namespace)
        unlimited = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=timeout + 30)
        async with self._http().get(
            self.access.server + path,
            params=params,
            headers=self._headers(),
            ssl=self.access.tls if self.access.tls else True,
            timeout=unlimited,
        ) as response:
            if response.status >= 400:
                raise ApiError(response.status, _status_body(await response.read()), request=f"WATCH {path}")
            try:
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 500), event["object"], request=f"WATCH {path}")
                    yield event["type"], event["object"]
            finally:
                # The connection of an abandoned watch cannot be reused: abort it without a TLS shutdown.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()


def _status_body(text: bytes) -> Object:
    try:
        body = json.loads(text)
    except ValueError:
        return {"message": text.decode(errors="replace").strip()}
    return body if isinstance(body, dict) else {"message": str(body)}


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream without aiohttp's limit on their length (an object can be a megabyte)."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
