"""A cache of the objects of a kind, kept up to date by list and watch.

An informer survives the end of a watch, an expired resourceVersion (410), a restart of the API server, and a kind that
is not served yet or no longer served. The next list detects objects that were deleted while no watch ran. Retries use
exponential back-off. Each problem is logged once, and so is the recovery.
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

REQUEST_ERRORS: Final = (
    ApiError,
    UnknownKindError,
    aiohttp.ClientError,
    TimeoutError,
    ssl.SSLError,
    OSError,
    ValueError,
)
"""Errors of a request to an API server that is unreachable or responds incorrectly. Any other error is a bug."""

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0
_LONGEST_MISSING_WAIT = 1.0
_UNAUTHORIZED_SECONDS = 60.0
"""How long 401 is retried: an API server that has just started may reject valid tokens."""


def key_of(obj: Object) -> str:
    """Return ``namespace/name``, or the name of a cluster-scoped object."""
    meta = obj["metadata"]
    namespace = meta.get("namespace")
    return f"{namespace}/{meta['name']}" if namespace else str(meta["name"])


def version_of(obj: Object) -> int:
    """Return an object's resourceVersion as a number; 0 if it has none."""
    version = obj["metadata"].get("resourceVersion", "0")
    return int(version) if version.isdecimal() else 0


def newer_of(before: Object | None, after: Object | None) -> Object:
    """Return the object after a change or, if it was deleted, before it."""
    obj = before if after is None else after
    assert obj is not None  # noqa: S101  # a change always has one of them
    return obj


class Informer:
    """The objects of a kind by `key_of`, and a callback for each change.

    Args:
        kube: connected client.
        api_version, kind: the kind to watch.
        on_change: called with the object before (None: created) and after the change (None: deleted). Must not block.
        namespace, labels, fields: narrow the watch.
        prune: drops unused fields before an object is cached; must keep name, namespace, uid and resourceVersion.
        optional: whether a kind that is not served counts as empty. Otherwise the informer waits for the kind and
            keeps its objects.
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
        """Why no watch is running; None if one is."""
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
                    self._note_success()
                async for change, obj in self._watch(since):
                    self._note_success()
                    since = obj["metadata"]["resourceVersion"]
                    self._reached = version_of(obj)
                    if change != "BOOKMARK":
                        self._apply_event(change, obj)
            except REQUEST_ERRORS as error:
                self._check_credentials(error)
                # After an error status the resourceVersion may be invalid (410, or etcd was restored): list again.
                # After a broken connection it is still valid.
                if isinstance(error, ApiError | UnknownKindError):
                    since = None
                missing = missing + 1 if self._optional and is_missing(error) else 0
                if missing:
                    # A single 404 can come from an API server that is starting: it must not drop all objects.
                    if missing > 1 or not self.objects:
                        self._replace({})
                        self.synced.set()
                    self._note_trouble(f"the API server serves no {self._kind} yet")
                    wait = min(wait, _LONGEST_MISSING_WAIT)
                elif not (isinstance(error, ApiError) and error.code == 410):
                    self._note_trouble(f"{type(error).__name__}: {error}")
            # No pause after a long watch; back-off after one that ends at once.
            if time.monotonic() - started > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def remember(self, obj: Object) -> None:
        """Cache the object that a write returned, ahead of the watch."""
        stored = self.objects.get(key_of(obj))
        # If the watch is past the version of an object that is not cached, the object has been deleted.
        newest = self._reached if stored is None else version_of(stored)
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
            stored = self.objects.get(key)
            if stored is None or version_of(stored) != version_of(obj):
                self.objects[key] = self._prune(obj)
                self._on_change(stored, self.objects[key])

    def _apply_event(self, change: str, obj: Object) -> None:
        key = key_of(obj)
        stored = self.objects.get(key)
        if change == "DELETED":
            if stored is not None and stored["metadata"]["uid"] == obj["metadata"]["uid"]:
                del self.objects[key]
                self._on_change(stored, None)
            return
        same = stored is not None and stored["metadata"]["uid"] == obj["metadata"]["uid"]
        if stored is not None and same and version_of(obj) < version_of(stored):
            return  # the result of a write was ahead of the watch
        self.objects[key] = self._prune(obj)
        self._on_change(stored, self.objects[key])

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

    def _note_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:
            self._log.warning("%s", trouble)
            self.trouble = trouble

    def _note_success(self) -> None:
        self._unauthorized_since = None
        if self.trouble is not None:
            self._log.info("watching again")
            self.trouble = None
