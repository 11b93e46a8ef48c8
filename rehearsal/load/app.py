"""The simulator as a process: watches pods, lets time pass, shows metrics on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from inferstack.apimachinery.labels import APP_NAME, HARDWARE
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import Informer
from rehearsal.hardware import (
    MIG_DEVICES,
)
from rehearsal.load import control, pages
from rehearsal.load import pods as seen
from rehearsal.load.arrivals import Request, read_trace
from rehearsal.load.devices import devices_of
from rehearsal.load.scenario import Trace
from rehearsal.load.status import make_status
from rehearsal.load.world import World
from rehearsal.metrics import GPUS_PATH, PODS_PATH, PROXIES_PATH

_STEP_SECONDS = 0.1
_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger("load")


@dataclass(frozen=True)
class Options:
    """How the simulator is run."""

    kubeconfig: Path
    state_dir: Path
    port: int


class App:
    """The simulator.

    Args:
        kube: connected client.
        state_dir: of the rehearsal.
        port: where it listens on loopback.
    """

    def __init__(self, kube: KubeClient, state_dir: Path, port: int) -> None:
        self._state, self._address = state_dir, f"127.0.0.1:{port}"
        self._pods = Informer(kube, "v1", "Pod", labels=seen.SELECTOR, on_change=_nothing, prune=seen.prune)
        self._nodes = Informer(kube, "v1", "Node", on_change=_nothing, prune=_pruned_node)
        self.informers = (self._pods, self._nodes)
        self._world = World(None, {}, time.time())
        self._changed: tuple[int, int] | None = None
        self._late = 0.0

    async def run(self) -> None:
        """Let time pass until cancelled."""
        for informer in self.informers:
            await informer.synced.wait()
        while True:
            began = time.monotonic()
            self._take_orders()
            self._world.step(self._pods.objects, time.time())
            took = time.monotonic() - began
            self._late = max(0.0, took - _STEP_SECONDS)
            await asyncio.sleep(max(0.01, _STEP_SECONDS - took))

    def routes(self) -> list[web.RouteDef]:
        """Return what is answered."""
        return [
            web.get("/healthz", self._healthz),
            web.get("/status", self._status),
            web.get("/metrics/pods/{namespace}/{pod}", self._pod),
            web.get("/metrics/gpus/{node}", self._gpus),
            web.get("/metrics/proxies", self._proxies),
            web.get(PODS_PATH, self._pod_targets),
            web.get(GPUS_PATH, self._gpu_targets),
            web.get(PROXIES_PATH, self._proxy_targets),
        ]

    def _take_orders(self) -> None:
        """Begin what the file says where it has changed."""
        try:
            status = control.path_of(self._state).stat()
            changed = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            changed = None
        if changed == self._changed:
            return
        self._changed = changed
        run = control.read(self._state)
        traces: dict[str, list[Request]] = {}
        for load in run.scenario.jobs if run else ():
            if isinstance(load.arrivals, Trace):
                try:
                    traces[load.job] = read_trace(load.arrivals.file, load.arrivals.speed)
                except (OSError, UserError) as error:  # it was read before the run was ordered
                    log.error("%s: no load: %s", load.job, error)  # noqa: TRY400  # the sentence says it all
        self._world = World(run, traces, time.time())
        log.info("playing %s", f"{len(run.scenario.jobs)} jobs, seed {run.seed}" if run else "nothing")

    async def _healthz(self, _: web.Request) -> web.Response:
        ready = all(informer.synced.is_set() for informer in self.informers)
        return web.Response(text="ok\n" if ready else "waiting for the lists\n", status=200 if ready else 503)

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(make_status(self._world, time.time(), self._late))

    async def _pod(self, request: web.Request) -> web.Response:
        pod = self._pods.objects.get(f"{request.match_info['namespace']}/{request.match_info['pod']}")
        server = self._world.server_of(pod) if pod else None
        if pod is None or server is None:
            # As of a server that still loads its model: the target is down.
            raise web.HTTPServiceUnavailable(text="it takes no requests yet\n")
        runtime = (pod["metadata"].get("labels") or {}).get(APP_NAME, "")
        page = pages.SERVERS.get(runtime)
        if page is None:
            raise web.HTTPNotFound(text=f"no server {runtime!r} is simulated\n")
        return _page(pages.render(page(server, seen.model_of(pod))))

    async def _gpus(self, request: web.Request) -> web.Response:
        node = self._nodes.objects.get(request.match_info["node"])
        if node is None:
            raise web.HTTPNotFound(text="there is no such node\n")
        name = node["metadata"]["name"]
        there = [pod for pod in self._pods.objects.values() if pod["spec"]["nodeName"] == name]
        devices, used = self._world.gpus(node, there)
        return _page(pages.render(pages.gpus(name, devices, used)))

    async def _proxies(self, _: web.Request) -> web.Response:
        counted = [(name, job.answers()) for name, job in self._world.jobs.items()]
        return _page(pages.render(pages.proxy(counted)))

    async def _pod_targets(self, _: web.Request) -> web.Response:
        found: list[Object] = []
        for pod in self._pods.objects.values():
            meta = pod["metadata"]
            if seen.job_of(pod):
                found += seen.targets(pod, self._address, f"/metrics/pods/{meta['namespace']}/{meta['name']}")
            elif port := self._process_port(meta["uid"]):
                found += seen.targets(pod, f"127.0.0.1:{port}", None)
        return web.json_response(found)

    def _process_port(self, uid: str) -> int | None:
        """Return the port of a pod that is backed by a process."""
        try:
            content = json.loads((self._state / "run" / "pods" / uid / "run.json").read_text())
        except FileNotFoundError:
            return None
        return int(content["port"])

    async def _gpu_targets(self, _: web.Request) -> web.Response:
        names = sorted(name for name, node in self._nodes.objects.items() if devices_of(node))
        return web.json_response([self._exporter(name) for name in names])

    def _exporter(self, node: str) -> Object:
        name = f"nvidia-dcgm-exporter-{node}"
        labels = {
            "__metrics_path__": f"/metrics/gpus/{node}",
            "namespace": "gpu-operator",
            "pod": name,
            "container": "nvidia-dcgm-exporter",
            "service": "nvidia-dcgm-exporter",
            "endpoint": "gpu-metrics",
            "node": node,
            "instance": f"{node}:9400",
        }
        return {"targets": [self._address], "labels": labels}

    async def _proxy_targets(self, _: web.Request) -> web.Response:
        labels = {"__metrics_path__": "/metrics/proxies", "instance": "proxies"}
        return web.json_response([{"targets": [self._address], "labels": labels}])


async def run(options: Options) -> None:
    """Simulate until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with await KubeClient.connect(options.kubeconfig) as kube:
        app = App(kube, options.state_dir, options.port)
        answering = web.Application()
        answering.router.add_routes(app.routes())
        runner = web.AppRunner(answering, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options.port).start()
        work = [asyncio.create_task(part) for part in (*(one.run() for one in app.informers), app.run())]
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([*work, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()  # a part ends only by a bug: let it be seen
        finally:
            for task in [*work, stopping]:
                task.cancel()
            await asyncio.gather(*work, stopping, return_exceptions=True)
            await runner.cleanup()


def _page(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": _TEXT_FORMAT})


def _nothing(_: Object | None, __: Object | None) -> None:
    """Each step looks at all pods anyway."""


def _pruned_node(node: Object) -> Object:
    meta = node["metadata"]
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k in (HARDWARE, MIG_DEVICES)}
    kept = {key: meta[key] for key in ("name", "uid", "resourceVersion")}
    return {"metadata": {**kept, "annotations": annotations}}
