"""Look at nodes, cut their GPUs, and break simulated ones."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from inferstack.apimachinery.objects import Object
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE
from inferstack.mig.resources import GPU_RESOURCE, is_gpu
from inferstack.project import state_dir
from rehearsal.hardware import (
    HARDWARE,
    LOST_GPUS,
    NOT_READY,
    Hardware,
    HardwareError,
    annotations_of,
    faults_of,
    hardware_of,
)
from rehearsal.simulators.nodes import policy as gpu_policy
from rehearsal.simulators.nodes.mig_manager import MIG_DONE

_Result = TypeVar("_Result")

FIELD_MANAGER = "inferstack-cli"
_DEFAULT_LAYOUT = "all-disabled"

app = typer.Typer(help="Look at nodes, cut their GPUs, and break simulated ones.", no_args_is_help=True)

Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="Default: the rehearsal's own.")]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="Name of the node.")]


def register(parent: typer.Typer) -> None:
    """Add ``inferstack node`` to the application."""
    parent.add_typer(app, name="node")


# --- what is shown


def make_row(node: Mapping[str, Any]) -> Object:
    """Return what ``node list`` tells of a node, with plain values."""
    labels = node["metadata"].get("labels") or {}
    status = node.get("status") or {}
    capacity, allocatable = status.get("capacity") or {}, status.get("allocatable") or {}
    devices = {
        name: {"allocatable": int(allocatable.get(name, 0)), "capacity": int(count)}
        for name, count in sorted(capacity.items())
        if is_gpu(name) and (int(count) or name == GPU_RESOURCE)
    }
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or []}
    gpu, gpus = _gpus(node)
    return {
        "node": node["metadata"]["name"],
        "instance_type": labels.get("node.kubernetes.io/instance-type", ""),
        "gpu": gpu,
        "gpus": gpus,
        "layout": (labels.get(MIG_CONFIG) or _DEFAULT_LAYOUT) if MIG_STATE in labels else labels.get(MIG_CONFIG),
        "state": labels.get(MIG_STATE),
        "devices": devices,
        "ready": conditions.get("Ready") == "True",
        "lost_gpus": faults_of(node).lost_gpus,
    }


def _gpus(node: Mapping[str, Any]) -> tuple[str | None, int]:
    try:
        hardware = hardware_of(node)
    except HardwareError as error:
        return f"? ({error})", 0
    if hardware is None:  # a real node: what its own labels say
        return (node["metadata"].get("labels") or {}).get("nvidia.com/gpu.product"), 0
    return (hardware.gpu.name if hardware.gpu else None), hardware.gpus


def make_table_row(row: Mapping[str, Any]) -> Object:
    """Return a row of `make_row` as people read it: allocatable devices, with the capacity where it is another."""
    devices = ", ".join(
        f"{name.removeprefix('nvidia.com/')}: {count['allocatable']}"
        + (f" of {count['capacity']}" if count["allocatable"] != count["capacity"] else "")
        for name, count in row["devices"].items()
        if count["capacity"]
    )
    gpu = f"{row['gpus']} x {row['gpu']}" if row["gpus"] else row["gpu"] or "-"
    return {
        "node": row["node"],
        "type": row["instance_type"],
        "gpus": gpu,
        "layout": row["layout"] or "-",
        "state": row["state"] or "-",
        "allocatable": devices or "-",
        "ready": "yes" if row["ready"] else "no",
    }


# --- commands


@app.command("list")
def list_nodes(kubeconfig: Kubeconfig = None, form: output.FormatOption = output.Format.TABLE) -> None:
    """List nodes with their GPUs, MIG layout and what is allocatable."""

    async def read(kube: KubeClient) -> list[Object]:
        return list((await kube.list("v1", "Node"))["items"])

    rows = [make_row(node) for node in sorted(_run(kubeconfig, read), key=lambda node: node["metadata"]["name"])]
    if form is output.Format.TABLE:
        output.emit([make_table_row(row) for row in rows])
        if not rows:
            output.say("There are no nodes.")
    else:
        output.emit(rows, form)


@app.command("lose-gpu")
def lose_gpu(
    name: NodeName,
    count: Annotated[int, typer.Option("--count", min=1, help="GPUs that are lost in all.")] = 1,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Make a simulated node lose GPUs: their devices turn unhealthy."""

    async def change(kube: KubeClient) -> None:
        hardware = _simulated(await _node(kube, name))
        if count > hardware.gpus:
            raise UserError(f"Node {name} has {hardware.gpus} GPUs: --count {count} is more than it can lose.")
        await _annotate(kube, name, {LOST_GPUS: str(count)})

    _run(kubeconfig, change)
    output.say(f"Node {name} has lost {count} GPU{'s' if count > 1 else ''}; inferstack node restore {name} mends it.")


@app.command("not-ready")
def not_ready(name: NodeName, kubeconfig: Kubeconfig = None) -> None:
    """Make a simulated node's kubelet stop being ready."""

    async def change(kube: KubeClient) -> None:
        _simulated(await _node(kube, name))
        await _annotate(kube, name, {NOT_READY: "true"})

    _run(kubeconfig, change)
    output.say(f"Node {name} is not ready; inferstack node restore {name} mends it.")


@app.command()
def restore(name: NodeName, kubeconfig: Kubeconfig = None) -> None:
    """Mend what lose-gpu and not-ready broke."""

    async def change(kube: KubeClient) -> None:
        _simulated(await _node(kube, name))
        await _annotate(kube, name, {LOST_GPUS: None, NOT_READY: None})

    _run(kubeconfig, change)
    output.say(f"Node {name} is whole again.")


@app.command()
def mig(
    name: NodeName,
    layout: Annotated[str, typer.Argument(metavar="LAYOUT", help="Name in the MIG manager's configuration.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Until the MIG manager is done; exit code 1 if it failed.")
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait.")] = 120.0,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Ask the MIG manager for another layout of a node's GPUs."""

    async def change(kube: KubeClient) -> str | None:
        node = await _node(kube, name)
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
                return await _outcome(kube, name, layout)
        except TimeoutError:
            raise UserError(
                f"Node {name}: the MIG manager is not done with {layout} after {timeout:g} s; see inferstack node list."
            ) from None

    state = _run(kubeconfig, change)
    if state == "failed":
        raise UserError(f"Node {name} cannot take the layout {layout}: its GPUs are as before (see the agent's log).")
    output.say(f"Node {name}: {layout} {state or 'asked for'}.")


# --- helpers


def _run(kubeconfig: Path | None, work: Callable[[KubeClient], Coroutine[Any, Any, _Result]]) -> _Result:
    async def connect() -> _Result:
        async with connected(kubeconfig or state_dir() / "kubeconfig") as kube:
            return await work(kube)

    return asyncio.run(connect())


async def _node(kube: KubeClient, name: str) -> Object:
    found = await kube.find("v1", "Node", name)
    if found is None:
        names = [node["metadata"]["name"] for node in (await kube.list("v1", "Node"))["items"]]
        raise UserError(f"There is no node {name!r}{_near(name, names)}.")
    return found


def _near(name: str, known: Iterable[str]) -> str:
    """Return a clause that names what may have been meant."""
    listed = sorted(known)
    near = difflib.get_close_matches(name, listed, n=4) or listed[:8]
    return f": near are {', '.join(near)}" if near else ""


def _simulated(node: Mapping[str, Any]) -> Hardware:
    name = node["metadata"]["name"]
    try:
        hardware = hardware_of(node)
    except HardwareError as error:
        raise UserError(f"Node {name}: annotation {HARDWARE}: {error}") from error
    if hardware is None:
        raise UserError(f"Node {name} is a real one (no annotation {HARDWARE}): only simulated nodes are broken.")
    return hardware


async def _annotate(kube: KubeClient, name: str, annotations: Mapping[str, str | None]) -> None:
    body = {"metadata": {"annotations": dict(annotations)}}
    await kube.patch("v1", "Node", name, body, field_manager=FIELD_MANAGER)


async def _check_layout(kube: KubeClient, layout: str) -> None:
    """Refuse a name that the MIG manager does not know."""
    found = await kube.find(gpu_policy.API_VERSION, gpu_policy.KIND, gpu_policy.NAME)
    if found is None:
        raise UserError("There is no ClusterPolicy: the GPU operator is not installed (role gpu).")
    name = gpu_policy.parse_policy(found, {}).config_map
    config_map = await kube.find("v1", "ConfigMap", name, gpu_policy.NAMESPACE) if name else None
    policy = gpu_policy.parse_policy(found, {name: config_map} if config_map else {})
    if policy.layouts_problem:
        raise UserError(f"The MIG manager has no layouts: {policy.layouts_problem}.")
    if layout not in (policy.layouts or {}):
        raise UserError(f"There is no MIG layout {layout!r}{_near(layout, policy.layouts or {})}.")


async def _outcome(kube: KubeClient, name: str, layout: str) -> str:
    """Return success or failed, when the MIG manager is done with this layout."""
    fields = f"metadata.name={name}"
    pending_seen = False
    while True:
        listing = await kube.list("v1", "Node", fields=fields)
        since = listing["metadata"]["resourceVersion"]
        changes = kube.watch("v1", "Node", fields=fields, since=since)
        for node in listing["items"]:
            if state := _final(node, layout, pending_seen):
                return state
        async for change, node in changes:
            if change == "DELETED":
                raise UserError(f"Node {name} was deleted while its GPUs were cut.")
            if change == "BOOKMARK":
                continue
            pending_seen |= node["metadata"].get("labels", {}).get(MIG_STATE) == "pending"
            if state := _final(node, layout, pending_seen):
                return state


def _final(node: Mapping[str, Any], layout: str, pending_seen: bool) -> str | None:
    labels = node["metadata"].get("labels") or {}
    state = labels.get(MIG_STATE)
    if labels.get(MIG_CONFIG) != layout:
        raise UserError(f"Someone else asked for the layout {labels.get(MIG_CONFIG)} meanwhile.")
    # A simulated node says which request it finished; a real one only shows that it was at work.
    finished = annotations_of(node).get(MIG_DONE) == layout if HARDWARE in annotations_of(node) else pending_seen
    return str(state) if finished and state in ("success", "failed") else None
