"""A local copy of one kind's objects, kept current by list and watch.

Survives what a control plane does: a watch that ends, a resourceVersion that is too old (410), an API server that is
restarted, a kind that is not served yet or goes away. What vanished while no watch ran is found by the next list.
Retries back off; a trouble is logged once, and its end.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.k8s.client import KubeClient
from inferstack.k8s.errors import ApiError, CredentialError, UnknownKindError, is_missing

TROUBLE: Final = (ApiError, UnknownKindError, aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError, ValueError)
"""What a request may end with when the server is away or talks nonsense; anything else is a bug and must be seen."""

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0
_LONGEST_MISSING_WAIT = 1.0
_UNAUTHORIZED_SECONDS = 60.0
"""How long 401 is taken for a passing trouble: an API server that has just started may answer it to valid tokens."""


def key_of(obj: Object) -> str:
    """Return ``namespace/name``, or the name of a cluster-scoped object."""
    meta = obj["metadata"]
    namespace = meta.get("namespace")
    return f"{namespace}/{meta['name']}" if namespace else str(meta["name"])


def version_of(obj: Object) -> int:
    """Return an object's resourceVersion as a number; 0 where it has none."""
    version = obj["metadata"].get("resourceVersion", "0")
    return int(version) if version.isdecimal() else 0


def newer_of(before: Object | None, after: Object | None) -> Object:
    """Return the newer side of a change as `Informer` tells it."""
    obj = before if after is None else after
    assert obj is not None  # noqa: S101  # a change has at least one side
    return obj


class Informer:
    """Objects of one kind by `key_of`, and a call for each change.

    Args:
        kube: connected client.
        api_version, kind: what to watch.
        on_change: called with the object as it was and as it is; None where there is none. Must not block.
        namespace, labels, fields: narrow the watch.
        prune: drops what is not needed before an object is kept; metadata's name, namespace, uid and resourceVersion
            must stay.
        optional: a kind that is not served is one without objects; otherwise it is waited for, and what was known of it
            stays known.
    """

    def __init__(
        self,
        kube: KubeClient,
        api_version: str,
        kind: str,
        *,
        on_change: Callable[[Object | None, Object | None], None],
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        prune: Callable[[Object], Object] = lambda obj: obj,
        optional: bool = False,
    ) -> None:
        self.objects: dict[str, Object] = {}
        self.synced = asyncio.Event()
        self._kube = kube
        self._api_version, self._kind = api_version, kind
        self._on_change = on_change
        self._namespace, self._labels, self._fields = namespace, labels, fields
        self._prune = prune
        self._optional = optional
        self._reached = 0
        self.trouble: str | None = None
        """Why there is no watch at the moment; None while there is one."""
        self._unauthorized_since: float | None = None
        self._log = logging.getLogger(f"informer.{kind.lower()}")

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            CredentialError: the API server has refused the credentials for a minute.
        """
        wait = _FIRST_WAIT
        since: str | None = None
        missing = 0
        while True:
            started = time.monotonic()
            try:
                if since is None:
                    since = await self._list()
                    missing = 0
                    self._well()
                async for change, obj in self._watch(since):
                    self._well()
                    since = obj["metadata"]["resourceVersion"]
                    self._reached = version_of(obj)
                    if change != "BOOKMARK":
                        self._take(change, obj)
            except TROUBLE as error:
                self._check_credentials(error)
                # After a refusal the version may be worthless (410, or etcd was restored): list again. After a broken
                # connection it holds.
                if isinstance(error, ApiError | UnknownKindError):
                    since = None
                missing = missing + 1 if self._optional and is_missing(error) else 0
                if missing:
                    # One 404 can be an API server that is just starting; it must not empty what is known.
                    if missing > 1 or not self.objects:
                        self._replace({})
                        self.synced.set()
                    self._note(f"the API server serves no {self._kind} yet")
                    wait = min(wait, _LONGEST_MISSING_WAIT)
                elif not (isinstance(error, ApiError) and error.code == 410):
                    self._note(f"{type(error).__name__}: {error}")
            # A watch that lasted needs no pause; one that ends at once must not become a busy loop.
            if time.monotonic() - started > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def remember(self, obj: Object) -> None:
        """Take an object as a write returned it, ahead of the watch."""
        known = self.objects.get(key_of(obj))
        # An object that is unknown although the watch is past its version has been deleted meanwhile.
        newest = self._reached if known is None else version_of(known)
        if version_of(obj) > newest:
            self.objects[key_of(obj)] = self._prune(obj)

    async def _list(self) -> str:
        listing = await self._kube.list(
            self._api_version, self._kind, self._namespace, labels=self._labels, fields=self._fields
        )
        self._reached = version_of(listing)
        self._replace({key_of(obj): obj for obj in listing["items"]})
        self.synced.set()
        return str(listing["metadata"]["resourceVersion"])

    def _watch(self, since: str) -> AsyncIterator[tuple[str, Object]]:
        return self._kube.watch(
            self._api_version, self._kind, self._namespace, labels=self._labels, fields=self._fields, since=since
        )

    def _replace(self, current: dict[str, Object]) -> None:
        for key in [key for key in self.objects if key not in current]:
            self._on_change(self.objects.pop(key), None)
        for key, obj in current.items():
            known = self.objects.get(key)
            if known is None or version_of(known) != version_of(obj):
                self.objects[key] = self._prune(obj)
                self._on_change(known, self.objects[key])

    def _take(self, change: str, obj: Object) -> None:
        key = key_of(obj)
        known = self.objects.get(key)
        if change == "DELETED":
            if known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]:
                del self.objects[key]
                self._on_change(known, None)
            return
        same = known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]
        if known is not None and same and version_of(obj) < version_of(known):
            return  # a write's answer was ahead of the watch
        self.objects[key] = self._prune(obj)
        self._on_change(known, self.objects[key])

    def _check_credentials(self, error: Exception) -> None:
        if not (isinstance(error, ApiError) and error.code == 401):
            return
        now = time.monotonic()
        if self._unauthorized_since is None:
            self._unauthorized_since = now
        elif now - self._unauthorized_since >= _UNAUTHORIZED_SECONDS:
            raise CredentialError(
                f"the API server has refused the credentials for {_UNAUTHORIZED_SECONDS:.0f} s: {error}"
            ) from error

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            self._log.warning("%s", trouble)
            self.trouble = trouble

    def _well(self) -> None:
        self._unauthorized_since = None
        if self.trouble is not None:
            self._log.info("watching again")
            self.trouble = None
