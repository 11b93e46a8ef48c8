"""``inferstack node lose-gpu``, ``not-ready`` and ``restore``: faults of simulated nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from inferstack.cli import output
from inferstack.cli.cluster import FIELD_MANAGER, get_node, run
from inferstack.cli.options import NodeName, RehearsalKubeconfigOption
from inferstack.cli.rehearsal.simulated import require_simulated
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from inferstack.project import state_dir
from rehearsal.hardware import LOST_GPUS, NOT_READY


def lose_gpu(
    name: NodeName,
    count: Annotated[int, typer.Option("--count", min=1, help="Total number of lost GPUs.")] = 1,
    kubeconfig: RehearsalKubeconfigOption = None,
) -> None:
    """Make GPUs of a simulated node unhealthy."""

    async def change(kube: KubeClient) -> None:
        hardware = require_simulated(await get_node(kube, name))
        if count > hardware.gpus:
            raise UserError(f"--count {count}: node {name} has {hardware.gpus} GPUs.")
        await _annotate(kube, name, {LOST_GPUS: str(count)})

    run(change, kubeconfig or state_dir() / "kubeconfig")
    output.say(
        f"Node {name} has lost {count} GPU{'s' if count > 1 else ''}; undo it with inferstack node restore {name}."
    )


def not_ready(name: NodeName, kubeconfig: RehearsalKubeconfigOption = None) -> None:
    """Make a simulated node not ready."""

    async def change(kube: KubeClient) -> None:
        require_simulated(await get_node(kube, name))
        await _annotate(kube, name, {NOT_READY: "true"})

    run(change, kubeconfig or state_dir() / "kubeconfig")
    output.say(f"Node {name} is not ready; undo it with inferstack node restore {name}.")


def restore(name: NodeName, kubeconfig: RehearsalKubeconfigOption = None) -> None:
    """Undo lose-gpu and not-ready."""

    async def change(kube: KubeClient) -> None:
        require_simulated(await get_node(kube, name))
        await _annotate(kube, name, {LOST_GPUS: None, NOT_READY: None})

    run(change, kubeconfig or state_dir() / "kubeconfig")
    output.say(f"Node {name} has no faults any more.")


async def _annotate(kube: KubeClient, name: str, annotations: Mapping[str, str | None]) -> None:
    body = {"metadata": {"annotations": dict(annotations)}}
    await kube.patch("v1", "Node", name, body, field_manager=FIELD_MANAGER)
