"""The use of GPUs for Prometheus: read from the cluster now and then, shown until the next look.

Nodes and pods are listed and not watched: of thousands of pods a watch tells each change, and slices change in minutes.
"""

from __future__ import annotations

import asyncio
import logging

from inferstack.controllers.mig.devices import PRODUCT
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import TROUBLE
from inferstack.mig.exposition import make_exposition
from inferstack.mig.usage import make_usage

_LOG = logging.getLogger("operator.mig")


class UsageMetrics:
    """Keeps the page of `inferstack.mig.exposition` current.

    Args:
        kube: connected client.
        seconds: between two looks.
    """

    def __init__(self, kube: KubeClient, seconds: float) -> None:
        self._kube, self._seconds = kube, seconds
        self._page = ""
        self._trouble = ""

    def page(self) -> str:
        """Return the metrics in Prometheus' text format; nothing where there are no GPUs or the last look failed.

        What is not known is left out rather than shown as it was: one sees a series that ends, not one that stays.
        """
        return self._page

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                self._page = await self._look()
            except TROUBLE as error:
                self._page = ""
                if self._trouble != str(error):  # told once, not each minute
                    _LOG.warning("the use of GPUs is not known: %s", error)
                self._trouble = str(error)
            else:
                self._trouble = ""
            await asyncio.sleep(self._seconds)

    async def _look(self) -> str:
        nodes = (await self._kube.list("v1", "Node", labels=PRODUCT))["items"]
        if not nodes:
            return ""
        over = "status.phase!=Succeeded,status.phase!=Failed"
        pods = (await self._kube.list("v1", "Pod", fields=over))["items"]
        # Beside the loop: the sums over thousands of pods must not hold up jobs.
        return await asyncio.to_thread(lambda: make_exposition(make_usage(nodes, pods)))
