"""``inferstack node mig``: the MIG layout of one node, through the MIG manager's label."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.cluster import FIELD_MANAGER, get_node, run, suggest
from inferstack.cli.mig.planner_input import read_layouts
from inferstack.cli.options import NodeName, RehearsalKubeconfigOption
from inferstack.cli.rehearsal.simulated import completed_layout
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from inferstack.mig.errors import MigError
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE
from inferstack.mig.mig_parted import parse_config
from inferstack.mig.resources import GPU_RESOURCE
from inferstack.project import state_dir


def mig(
    name: NodeName,
    layout: Annotated[
        str, typer.Argument(metavar="LAYOUT", help="Name of a layout in the MIG manager's configuration.")
    ],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the MIG manager is done; exit with status 1 if it failed.")
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait.")] = 120.0,
    kubeconfig: RehearsalKubeconfigOption = None,
) -> None:
    """Set the MIG layout of a node.

    The MIG manager of the GPU operator carries it out.
    """

    async def change(kube: KubeClient) -> str | None:
        node = await get_node(kube, name)
        if GPU_RESOURCE not in ((node.get("status") or {}).get("capacity") or {}):
            raise UserError(f"Node {name} has no NVIDIA GPU: choose one that inferstack node list shows with GPUs.")
        await _check_layout(kube, layout)
        await kube.patch(
            "v1", "Node", name, {"metadata": {"labels": {MIG_CONFIG: layout}}}, field_manager=FIELD_MANAGER
        )
        if not wait:
            return None
        try:
            async with asyncio.timeout(timeout):
                return await _wait(kube, name, layout)
        except TimeoutError:
            raise UserError(
                f"Node {name}: timed out after {timeout:g} s waiting for the MIG manager to apply {layout}; "
                "see inferstack node list."
            ) from None

    state = run(change, kubeconfig or state_dir() / "kubeconfig")
    if state == "failed":
        raise UserError(
            f"Node {name}: the MIG manager could not apply {layout}; the GPUs are unchanged (see the agent's log)."
        )
    output.say(f"Node {name}: {layout} {state or 'requested'}.")


async def _check_layout(kube: KubeClient, layout: str) -> None:
    """Refuse a layout that the MIG manager's configuration does not define."""
    try:
        layouts = parse_config(await read_layouts(kube))
    except MigError as error:
        raise UserError(f"The configuration of the MIG manager is invalid: {error}.") from error
    if layout not in layouts:
        raise UserError(f"There is no MIG layout {layout!r}{suggest(layout, layouts)}.")


async def _wait(kube: KubeClient, name: str, layout: str) -> str:
    """Return success or failed once the MIG manager is done with the layout."""
    fields = f"metadata.name={name}"
    was_pending = False
    while True:
        listing = await kube.list("v1", "Node", fields=fields)
        since = listing["metadata"]["resourceVersion"]
        changes = kube.watch("v1", "Node", fields=fields, since=since)
        for node in listing["items"]:
            if state := _final_state(node, layout, was_pending):
                return state
        async for change, node in changes:
            if change == "DELETED":
                raise UserError(f"Node {name} was deleted while its MIG layout was changing.")
            if change == "BOOKMARK":
                continue
            was_pending |= node["metadata"].get("labels", {}).get(MIG_STATE) == "pending"
            if state := _final_state(node, layout, was_pending):
                return state


def _final_state(node: Mapping[str, Any], layout: str, was_pending: bool) -> str | None:
    labels = node["metadata"].get("labels") or {}
    state = labels.get(MIG_STATE)
    if labels.get(MIG_CONFIG) != layout:
        raise UserError(f"Somebody else requested the layout {labels.get(MIG_CONFIG)} meanwhile.")
    # A simulated node names the request it completed; a real one only shows that it was pending.
    completed = completed_layout(node)
    finished = was_pending if completed is None else completed == layout
    return str(state) if finished and state in ("success", "failed") else None
