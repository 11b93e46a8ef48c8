"""All jobs under load, kept in step with the pods that there are; pure: time and pods are given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.mig.pods import pod_requests
from rehearsal.load import pods as seen
from rehearsal.load.arrivals import Request
from rehearsal.load.control import Run
from rehearsal.load.devices import Device, allot, devices_of
from rehearsal.load.pages import Activity
from rehearsal.load.server import Server
from rehearsal.load.simulation import JobSimulation

_SAMPLE_SECONDS = 1.0
"""Over which the use of a GPU is averaged, as dcgm-exporter does at least."""
_LOADED = 0.9
"""Share of a GPU's memory that a server takes once its model is loaded: vLLM's default."""


class World:
    """The simulations of all jobs.

    Args:
        run: what is played; None: all jobs are idle.
        traces: requests by job, where its load has a trace.
        now: seconds since the epoch.
    """

    def __init__(self, run: Run | None, traces: Mapping[str, Sequence[Request]], now: float) -> None:
        self.run = run
        self._began = run.began if run else now
        self.jobs: dict[str, JobSimulation] = {}
        """By namespace/name."""
        for load in run.scenario.jobs if run else ():
            job = JobSimulation(load, run.seed if run else 0, traces.get(load.job, ()))
            # Of a run that was begun before we were here: what came meanwhile was asked of nobody.
            job.skip(now - self._began)
            self.jobs[load.job] = job
        self._busy: dict[str, tuple[float, float, float]] = {}
        """By pod: moment and integral at the last sample, and the share that came of it."""

    def step(self, pods: Mapping[str, ReadOnlyObject], now: float) -> None:
        """Let time pass.

        Args:
            pods: of the platform, by namespace/name.
            now: seconds since the epoch.
        """
        ready: dict[str, dict[str, float]] = defaultdict(dict)
        for pod in pods.values():
            job = seen.job_of(pod)
            if job and (since := seen.ready_since(pod)) is not None:
                ready[job][pod["metadata"]["uid"]] = since - self._began
        for job in ready:
            if job not in self.jobs:
                self.jobs[job] = JobSimulation(None, 0)
                self.jobs[job].skip(now - self._began)
        for pod in pods.values():
            if simulation := self.jobs.get(seen.job_of(pod) or ""):
                simulation.generates = seen.generates(pod)
        for name, simulation in list(self.jobs.items()):
            simulation.set_pods(ready.get(name, {}), now - self._began)
            if name not in ready and simulation.load is None:
                del self.jobs[name]
        self._sample(now)

    def server_of(self, pod: ReadOnlyObject) -> Server | None:
        """Return the server of a pod; None where it is not ready or its model is still loaded."""
        simulation = self.jobs.get(seen.job_of(pod) or "")
        replica = simulation.replicas.get(pod["metadata"]["uid"]) if simulation else None
        return replica.server if replica and replica.takes else None

    def gpus(self, node: ReadOnlyObject, pods: Sequence[ReadOnlyObject]) -> tuple[list[Device], dict[Device, Activity]]:
        """Return the devices of a node, and who uses them how much.

        Args:
            node: with its annotations.
            pods: those on it.
        """
        order = sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["uid"]))
        devices = devices_of(node)
        owners = allot(devices, [(pod["metadata"]["uid"], pod_requests(pod)) for pod in order])
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
