"""GPU usage for Prometheus, computed at intervals.

Nodes and pods are listed and not watched: a watch delivers each change of thousands of pods, while slices change within
minutes.
"""

from __future__ import annotations

import asyncio
import logging

from inferstack.k8s import KubeClient
from inferstack.k8s.informer import REQUEST_ERRORS
from inferstack.mig.exposition import make_exposition
from inferstack.mig.gpu_operator import PRODUCT
from inferstack.mig.usage import make_usage

_LOG = logging.getLogger("operator.mig")


class UsageMetrics:
    """Keeps the page of `inferstack.mig.exposition` current.

    Args:
        kube: connected client.
        seconds: interval.
    """

    def __init__(self, kube: KubeClient, seconds: float) -> None:
        self._kube, self._seconds = kube, seconds
        self._page = ""
        self._trouble = ""

    def page(self) -> str:
        """Return the metrics in Prometheus' text format; nothing if there are no GPUs or the last list failed.

        After a failure the series end instead of repeating their last values.
        """
        return self._page

    async def run(self) -> None:
        """Compute the metrics until cancelled."""
        while True:
            try:
                self._page = await self._compute()
            except REQUEST_ERRORS as error:
                self._page = ""
                if self._trouble != str(error):  # logged once, not every minute
                    _LOG.warning("GPU usage is unknown: %s", error)
                self._trouble = str(error)
            else:
                self._trouble = ""
            await asyncio.sleep(self._seconds)

    async def _compute(self) -> str:
        nodes = (await self._kube.list("v1", "Node", labels=PRODUCT))["items"]
        if not nodes:
            return ""
        over = "status.phase!=Succeeded,status.phase!=Failed"
        pods = (await self._kube.list("v1", "Pod", fields=over))["items"]
        # In a thread: sums over thousands of pods must not delay jobs.
        return await asyncio.to_thread(lambda: make_exposition(make_usage(nodes, pods)))
