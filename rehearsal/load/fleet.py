"""The simulations of all jobs, synchronized with the pods, and their status; pure: the caller passes time and pods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.mig.pods import pod_requests
from rehearsal.load import pods as pod_views
from rehearsal.load.arrivals import Request
from rehearsal.load.control import Run
from rehearsal.load.devices import Device, allocate, devices_of
from rehearsal.load.histogram import Histogram
from rehearsal.load.pages import Activity
from rehearsal.load.server import Server
from rehearsal.load.simulation import JobSimulation

_SAMPLE_SECONDS = 1.0
"""Averaging window of GPU activity: the shortest of dcgm-exporter."""
_LOADED = 0.9
"""Share of GPU memory in use once the model is loaded: vLLM's default."""
_PERCENTILE = 0.95


class FleetSimulation:
    """The simulations of all jobs.

    Args:
        run: the running scenario; None if all jobs are idle.
        traces: requests of traces by job.
        now: seconds since the epoch.
    """

    def __init__(self, run: Run | None, traces: Mapping[str, Sequence[Request]], now: float) -> None:
        self.run = run
        self._began = run.began if run else now
        self.jobs: dict[str, JobSimulation] = {}
        """By namespace/name."""
        for load in run.scenario.jobs if run else ():
            job = JobSimulation(load, run.seed if run else 0, traces.get(load.job, ()))
            # The run may have begun before this process: discard the requests in between.
            job.skip(now - self._began)
            self.jobs[load.job] = job
        self._busy: dict[str, tuple[float, float, float]] = {}
        """By pod uid: time and integral of the last sample, and the activity since the sample before."""

    def step(self, pods: Mapping[str, ReadOnlyObject], now: float) -> None:
        """Advance all simulations to a time.

        Args:
            pods: pods of the platform by namespace/name.
            now: seconds since the epoch.
        """
        ready: dict[str, dict[str, float]] = defaultdict(dict)
        for pod in pods.values():
            job = pod_views.job_of(pod)
            if job and (since := pod_views.ready_since(pod)) is not None:
                ready[job][pod["metadata"]["uid"]] = since - self._began
        for job in ready:
            if job not in self.jobs:
                self.jobs[job] = JobSimulation(None, 0)
                self.jobs[job].skip(now - self._began)
        for pod in pods.values():
            if simulation := self.jobs.get(pod_views.job_of(pod) or ""):
                simulation.generates = pod_views.generates(pod)
        for name, simulation in list(self.jobs.items()):
            simulation.sync_pods(ready.get(name, {}), now - self._began)
            if name not in ready and simulation.load is None:
                del self.jobs[name]
        self._sample(now)

    def server_of(self, pod: ReadOnlyObject) -> Server | None:
        """Return the server of a pod, None if it does not accept requests yet."""
        simulation = self.jobs.get(pod_views.job_of(pod) or "")
        replica = simulation.replicas.get(pod["metadata"]["uid"]) if simulation else None
        return replica.server if replica and replica.accepts_requests else None

    def gpus(self, node: ReadOnlyObject, pods: Sequence[ReadOnlyObject]) -> tuple[list[Device], dict[Device, Activity]]:
        """Return the devices of a node and the use of the allocated ones.

        Args:
            node: the node with its annotations.
            pods: the pods on the node.
        """
        order = sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["uid"]))
        devices = devices_of(node)
        owners = allocate(devices, [(pod["metadata"]["uid"], pod_requests(pod)) for pod in order])
        by_uid = {pod["metadata"]["uid"]: pod for pod in order}
        return devices, {device: self._activity(by_uid[uid]) for device, uid in owners.items()}

    def _activity(self, pod: ReadOnlyObject) -> Activity:
        meta = pod["metadata"]
        share = self._busy.get(meta["uid"], (0.0, 0.0, 0.0))[2]
        memory = _LOADED if self.server_of(pod) else 0.0
        return (meta["namespace"], meta["name"], pod["spec"]["containers"][0]["name"], share, memory)

    def _sample(self, now: float) -> None:
        live = {uid: replica.server.counts.busy for job in self.jobs.values() for uid, replica in job.replicas.items()}
        for uid in self._busy.keys() - live.keys():
            del self._busy[uid]
        for uid, integral in live.items():
            at, before, _ = self._busy.setdefault(uid, (now, integral, 0.0))
            if now - at >= _SAMPLE_SECONDS:
                self._busy[uid] = (now, integral, min(1.0, (integral - before) / (now - at)))


def make_status(fleet: FleetSimulation, now: float, late: float) -> dict[str, Any]:
    """Return the status of a simulation, as the path /status serves it.

    Args:
        fleet: the simulation.
        now: seconds since the epoch.
        late: overrun of the last step in seconds; above 0, the machine is too slow for the load.
    """
    run = fleet.run
    return {
        "seed": run.seed if run else None,
        "seconds": round(now - run.began, 1) if run else None,
        "lateSeconds": round(late, 3),
        "jobs": [_job(fleet, name) for name in sorted(fleet.jobs)],
    }


def _job(fleet: FleetSimulation, name: str) -> dict[str, Any]:
    job = fleet.jobs[name]
    servers = [replica.server for replica in job.replicas.values()]
    stats = job.request_stats()
    return {
        "job": name,
        "arrived": job.arrived,
        "answered": stats.ok,
        "refused": stats.refused,
        "gaveUp": stats.timed_out,
        "running": sum(server.running for server in servers),
        "waiting": sum(server.waiting for server in servers),
        "replicas": sum(replica.accepts_requests for replica in job.replicas.values()),
        "loading": sum(not replica.accepts_requests for replica in job.replicas.values()),
        "firstTokenSeconds95": _quantile([server.counts.first_token for server in servers]),
        "requestSeconds95": _quantile([server.counts.request for server in servers]),
    }


def _quantile(histograms: list[Histogram]) -> float | None:
    """Return the upper bound of the bucket with the 95th percentile over all replicas."""
    if not histograms:
        return None
    total = histograms[0].empty()
    for histogram in histograms:
        total.add(histogram)
    return total.quantile(_PERCENTILE)
