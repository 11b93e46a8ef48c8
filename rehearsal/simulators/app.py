"""The agent process: composes the simulators and runs them until a signal."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inferstack.k8s import KubeClient, health
from inferstack.k8s.informer import Informer
from rehearsal.simulators.fluid.controller import FluidController
from rehearsal.simulators.keda.controller import KedaController
from rehearsal.simulators.nodes.cluster_policy import PolicyController
from rehearsal.simulators.nodes.controller import NodeController
from rehearsal.simulators.nodes.load_balancer import LoadBalancers
from rehearsal.simulators.pods.controller import PodController
from rehearsal.simulators.pods.readiness import Readiness
from rehearsal.simulators.prometheus.controller import PrometheusOperator
from rehearsal.simulators.prometheus.metrics_api import MetricsApi
from rehearsal.simulators.sriov.controller import SriovController
from rehearsal.simulators.sriov.networks import SriovNetworkController

log = logging.getLogger("agent")


@dataclass(frozen=True)
class Options:
    """Options of the agent."""

    kubeconfig: Path
    state_dir: Path
    health_port: int
    mig_seconds: float
    """How long the MIG manager takes where a node's hardware does not say."""
    prometheus_port: int | None = None
    """Of Prometheus; None where the rehearsal has none."""
    load_port: int | None = None
    """Of the load simulator, which Prometheus scrapes."""
    adapter_port: int | None = None
    """Of prometheus-adapter; None where the rehearsal has none."""


class Simulator(Protocol):
    """Simulates the controller of one add-on."""

    informers: Mapping[str, Informer]
    """Informers by display name."""

    async def run(self) -> None:
        """Work until cancelled."""


async def run(options: Options) -> None:
    """Simulate the nodes until SIGTERM or SIGINT; then stop the processes of pods and return."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with await KubeClient.connect(options.kubeconfig) as kube:
        readiness = Readiness(kube)
        nodes = NodeController(
            kube,
            policy=lambda: policies.current,
            functions=lambda name: sriov.functions(name),  # noqa: PLW0108  # it is made below
            on_node=readiness.observe_node,
            mig_seconds=options.mig_seconds,
        )
        sriov = SriovController(kube, on_change=nodes.changed)
        policies = PolicyController(kube, on_change=nodes.all_changed)
        pods = PodController(
            kube,
            options.state_dir,
            kubeconfig=options.kubeconfig,
            node_lives=lambda name: not nodes.is_broken(name),
            prometheus=options.prometheus_port,
        )
        # One entry per add-on. The agent is ready once the informers of all of them have synced.
        simulators: list[Simulator] = [FluidController(kube, nodes=nodes.nodes.objects.values), LoadBalancers(kube)]
        simulators += [sriov, SriovNetworkController(kube), KedaController(kube)]
        prometheus_operator: PrometheusOperator | None = None
        if options.prometheus_port and options.load_port:
            folder = options.state_dir / "prometheus"
            prometheus_operator = PrometheusOperator(
                kube, folder=folder, port=options.prometheus_port, load_port=options.load_port
            )
            simulators.append(prometheus_operator)
        simulators.append(
            MetricsApi(
                kube,
                kubeconfig=options.kubeconfig,
                port=options.adapter_port,
                monitored=lambda: prometheus_operator is not None and prometheus_operator.has_monitors(),
            )
        )
        informers = {
            "nodes": nodes.nodes,
            "pods": pods.pods,
            "cluster policies": policies.policies,
            "config maps": policies.config_maps,
        }
        for simulator in simulators:
            informers |= simulator.informers

        def problem() -> str | None:
            waiting = [name for name, informer in informers.items() if not informer.synced.is_set()]
            return f"waiting for the list of {', '.join(waiting)}" if waiting else None

        server = await health.serve("127.0.0.1", options.health_port, problem)

        async def simulate_nodes() -> None:
            # Until these informers have synced, "no policy" would remove every label and resource.
            await policies.policies.synced.wait()
            await policies.config_maps.synced.wait()
            await sriov.wait_for_states()
            await nodes.run()

        parts = [
            policies.run(),
            simulate_nodes(),
            readiness.run(),
            pods.run(),
            *(simulator.run() for simulator in simulators),
        ]
        work = [asyncio.create_task(part) for part in parts]
        stopping = asyncio.create_task(stop.wait())
        log.info("simulating the nodes of %s", kube.access.server)
        try:
            done, _ = await asyncio.wait([*work, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()  # a task ends early only on a bug: raise its error
        finally:
            for task in [*work, stopping]:
                task.cancel()
            await asyncio.gather(*work, stopping, return_exceptions=True)
            await server.cleanup()
    log.info("stopped")
