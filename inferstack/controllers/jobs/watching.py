"""See that kopf watches the jobs.

kopf asks the API server once, at its start, which kinds there are, and again when a CRD changes. An API server that has
just started answers ``/apis`` without the groups of CRDs for a moment (0.4 to 1.1 s in six restarts of Kubernetes
1.34): whoever asks then is told that there is no InferenceJob, and would wait, in good health, until somebody touches
the CRD. So it is held to what it must do, and that shows in its HTTP session: ask for the jobs again and again.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import aiohttp

from inferstack.api import constants

WATCH_SECONDS = 300
"""How long one watch lasts before kopf asks anew."""
_FIRST_SECONDS = 10.0
"""How long kopf's first request may take once the API server serves the kind; it is the next thing that it does."""
_SLACK_SECONDS = 60.0
_LOOK_SECONDS = 1.0


class NotWatchingError(Exception):
    """The kind is served and kopf does not ask for it: the operator ends, and starts anew."""


class Watching:
    """What is seen of kopf's requests."""

    def __init__(self) -> None:
        self._asked: float | None = None

    def trace(self) -> aiohttp.TraceConfig:
        """Return what takes note of a session's requests for jobs."""
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self._note)
        return config

    async def _note(self, _: object, __: SimpleNamespace, request: aiohttp.TraceRequestStartParams) -> None:
        if request.url.path.rstrip("/").endswith(f"/{constants.PLURAL}"):
            self._asked = asyncio.get_running_loop().time()

    async def guard(self, served: asyncio.Event) -> None:
        """Wait until kopf does not ask for what is ``served``; never returns otherwise.

        Raises:
            NotWatchingError: it does not.
        """
        await served.wait()
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            last, limit = (
                (began, _FIRST_SECONDS) if self._asked is None else (self._asked, WATCH_SECONDS + _SLACK_SECONDS)
            )
            if now() - last > limit:
                raise NotWatchingError(
                    f"kopf has not asked for {constants.PLURAL}.{constants.GROUP} for {limit:.0f} s, which are served: "
                    "it was told otherwise when it started, or when the CRD changed"
                )
            await asyncio.sleep(_LOOK_SECONDS)
