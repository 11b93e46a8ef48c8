"""Process-backed pods: each bound pod of the platform's own programs runs as a process on this machine."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from pathlib import Path

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from inferstack.k8s.auth import cluster_of
from inferstack.k8s.informer import Informer, key_of, newer_of
from rehearsal import pod_process as process
from rehearsal.pod_process import Process
from rehearsal.simulators.pods.podspec import SELECTOR
from rehearsal.simulators.pods.runner import SHUTDOWN_GRACE, PodRunner

log = logging.getLogger("pods")


class PodController:
    """Runs the process of each scheduled pod that matches `SELECTOR`.

    Args:
        kube: the agent's own client.
        state_dir: state folder of the rehearsal, with logs/ and run/pods/.
        kubeconfig: the agent's kubeconfig, for the address of the server.
        node_lives: returns whether a node's kubelet reports.
        prometheus: port of the rehearsal's Prometheus on loopback, or None if there is no Prometheus.
    """

    def __init__(
        self,
        kube: KubeClient,
        state_dir: Path,
        *,
        kubeconfig: Path,
        node_lives: Callable[[str], bool],
        prometheus: int | None = None,
    ) -> None:
        self._kube = kube
        self._state_dir = state_dir
        self._cluster = cluster_of(kubeconfig)
        self._node_lives = node_lives
        self._prometheus = prometheus
        self.pods = Informer(kube, "v1", "Pod", labels=SELECTOR, on_change=self._changed)
        self._runners: dict[str, PodRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: dict[str, Process] = {}

    async def run(self) -> None:
        """Run until cancelled, then stop the processes."""
        self._leftovers = await asyncio.to_thread(process.find_leftovers, self._state_dir)
        async with aiohttp.ClientSession() as http:
            self._http = http
            watching = asyncio.create_task(self.pods.run())
            try:
                await self.pods.synced.wait()
                await self._end_orphans()
                await watching
            finally:
                watching.cancel()
                for task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(watching, *self._tasks.values(), return_exceptions=True)

    async def _end_orphans(self) -> None:
        """Stop processes whose pods were deleted while no agent was running."""
        for uid, orphan in list(self._leftovers.items()):
            log.info("pid %d: its pod is gone; stopping it", orphan.pid)
            await orphan.stop(SHUTDOWN_GRACE)
            process.forget(self._state_dir, uid)
        self._leftovers.clear()

    def _changed(self, before: Object | None, pod: Object | None) -> None:
        key = key_of(newer_of(before, pod))
        runner = self._runners.get(key)
        if runner is not None and (pod is None or pod["metadata"]["uid"] != runner.uid):
            runner.mark_deleted()
            self._runners.pop(key)
            runner = None
        if pod is None:
            return
        if runner is not None:
            runner.update(pod)
        elif pod["spec"].get("nodeName"):
            runner = self._runners[key] = PodRunner(
                self._kube,
                self._http,
                self._state_dir,
                self._cluster,
                pod,
                node_lives=self._node_lives,
                prometheus=self._prometheus,
            )
            task = asyncio.create_task(runner.run(self._leftovers.pop(runner.uid, None)), name=f"pod {key}")
            self._tasks[runner.uid] = task
            task.add_done_callback(functools.partial(self._ended, runner.uid))

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(uid, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s", task.get_name(), exc_info=error)
