"""The simulator process: watches pods and nodes, advances the simulation, serves metrics on loopback."""

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
from rehearsal.hardware import MIG_DEVICES
from rehearsal.load import control, pages
from rehearsal.load import pods as pod_views
from rehearsal.load.arrivals import Request, read_trace
from rehearsal.load.devices import devices_of
from rehearsal.load.fleet import FleetSimulation, make_status
from rehearsal.load.scenario import Trace
from rehearsal.metrics import GPUS_PATH, PODS_PATH, PROXIES_PATH

_STEP_SECONDS = 0.1
_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger("load")


@dataclass(frozen=True)
class Options:
    """Options of the simulator."""

    kubeconfig: Path
    state_dir: Path
    port: int


class App:
    """The simulator.

    Args:
        kube: connected client.
        state_dir: state folder of the rehearsal.
        port: port on loopback.
    """

    def __init__(self, kube: KubeClient, state_dir: Path, port: int) -> None:
        self._state, self._address = state_dir, f"127.0.0.1:{port}"
        self._pods = Informer(kube, "v1", "Pod", labels=pod_views.SELECTOR, on_change=_ignore, prune=pod_views.prune)
        self._nodes = Informer(kube, "v1", "Node", on_change=_ignore, prune=_pruned_node)
        self.informers = (self._pods, self._nodes)
        self._fleet = FleetSimulation(None, {}, time.time())
        self._run_version: tuple[int, int] | None = None
        self._overrun_seconds = 0.0

    async def run(self) -> None:
        """Advance the simulation until cancelled."""
        for informer in self.informers:
            await informer.synced.wait()
        while True:
            began = time.monotonic()
            self._reload_run()
            self._fleet.step(self._pods.objects, time.time())
            duration = time.monotonic() - began
            self._overrun_seconds = max(0.0, duration - _STEP_SECONDS)
            await asyncio.sleep(max(0.01, _STEP_SECONDS - duration))

    def routes(self) -> list[web.RouteDef]:
        """Return the HTTP routes."""
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

    def _reload_run(self) -> None:
        """Start the run of the control file if the file changed."""
        try:
            status = control.path_of(self._state).stat()
            version = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            version = None
        if version == self._run_version:
            return
        self._run_version = version
        run = control.read(self._state)
        traces: dict[str, list[Request]] = {}
        for load in run.scenario.jobs if run else ():
            if isinstance(load.arrivals, Trace):
                try:
                    traces[load.job] = read_trace(load.arrivals.file, load.arrivals.speed)
                except (OSError, UserError) as error:  # `load run` read it before
                    log.error("%s: no load: %s", load.job, error)  # noqa: TRY400  # a traceback adds nothing
        self._fleet = FleetSimulation(run, traces, time.time())
        log.info("load: %s", f"{len(run.scenario.jobs)} jobs, seed {run.seed}" if run else "none")

    async def _healthz(self, _: web.Request) -> web.Response:
        ready = all(informer.synced.is_set() for informer in self.informers)
        return web.Response(text="ok\n" if ready else "waiting for informers\n", status=200 if ready else 503)

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(make_status(self._fleet, time.time(), self._overrun_seconds))

    async def _pod(self, request: web.Request) -> web.Response:
        pod = self._pods.objects.get(f"{request.match_info['namespace']}/{request.match_info['pod']}")
        server = self._fleet.server_of(pod) if pod else None
        if pod is None or server is None:
            # Like a server that still loads its model: Prometheus sees the target as down.
            raise web.HTTPServiceUnavailable(text="the server does not accept requests yet\n")
        runtime = (pod["metadata"].get("labels") or {}).get(APP_NAME, "")
        page = pages.SERVERS.get(runtime)
        if page is None:
            raise web.HTTPNotFound(text=f"no server {runtime!r} is simulated\n")
        return _page(pages.render(page(server, pod_views.model_of(pod))))

    async def _gpus(self, request: web.Request) -> web.Response:
        node = self._nodes.objects.get(request.match_info["node"])
        if node is None:
            raise web.HTTPNotFound(text="no such node\n")
        name = node["metadata"]["name"]
        pods = [pod for pod in self._pods.objects.values() if pod["spec"]["nodeName"] == name]
        devices, used = self._fleet.gpus(node, pods)
        return _page(pages.render(pages.gpus(name, devices, used)))

    async def _proxies(self, _: web.Request) -> web.Response:
        stats = [(name, job.request_stats()) for name, job in self._fleet.jobs.items()]
        return _page(pages.render(pages.proxy(stats)))

    async def _pod_targets(self, _: web.Request) -> web.Response:
        targets: list[Object] = []
        for pod in self._pods.objects.values():
            meta = pod["metadata"]
            if pod_views.job_of(pod):
                targets += pod_views.targets(pod, self._address, f"/metrics/pods/{meta['namespace']}/{meta['name']}")
            elif port := self._process_port(meta["uid"]):
                targets += pod_views.targets(pod, f"127.0.0.1:{port}", None)
        return web.json_response(targets)

    def _process_port(self, uid: str) -> int | None:
        """Return the port of a process-backed pod, None for other pods."""
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
        application = web.Application()
        application.router.add_routes(app.routes())
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options.port).start()
        work = [asyncio.create_task(part) for part in (*(informer.run() for informer in app.informers), app.run())]
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([*work, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()  # a task ends early only on a bug: raise its error
        finally:
            for task in [*work, stopping]:
                task.cancel()
            await asyncio.gather(*work, stopping, return_exceptions=True)
            await runner.cleanup()


def _page(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": _TEXT_FORMAT})


def _ignore(_: Object | None, __: Object | None) -> None:
    """Do nothing: each step reads all pods."""


def _pruned_node(node: Object) -> Object:
    meta = node["metadata"]
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k in (HARDWARE, MIG_DEVICES)}
    kept = {key: meta[key] for key in ("name", "uid", "resourceVersion")}
    return {"metadata": {**kept, "annotations": annotations}}
