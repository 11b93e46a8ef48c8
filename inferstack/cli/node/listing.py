"""``inferstack node list``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.cli import output
from inferstack.cli.cluster import run
from inferstack.cli.options import RehearsalKubeconfigOption
from inferstack.cli.rehearsal.simulated import SimulatedGpus, simulated_gpus
from inferstack.k8s import KubeClient
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE, PRODUCT
from inferstack.mig.resources import GPU_RESOURCE, is_gpu
from inferstack.project import state_dir

_DEFAULT_LAYOUT = "all-disabled"


def list_nodes(kubeconfig: RehearsalKubeconfigOption = None, form: output.FormatOption = output.Format.TABLE) -> None:
    """List nodes with their GPUs and MIG layouts.

    Also shows their allocatable devices.
    """

    async def read(kube: KubeClient) -> list[Object]:
        return list((await kube.list("v1", "Node"))["items"])

    nodes = run(read, kubeconfig or state_dir() / "kubeconfig")
    rows = [make_row(node) for node in sorted(nodes, key=lambda node: node["metadata"]["name"])]
    if form is output.Format.TABLE:
        output.emit([make_table_row(row) for row in rows])
        if not rows:
            output.say("There are no nodes.")
    else:
        output.emit(rows, form)


def make_row(node: Mapping[str, Any]) -> Object:
    """Return what ``node list`` shows of a node, as plain values."""
    labels = node["metadata"].get("labels") or {}
    status = node.get("status") or {}
    capacity, allocatable = status.get("capacity") or {}, status.get("allocatable") or {}
    devices = {
        name: {"allocatable": int(allocatable.get(name, 0)), "capacity": int(count)}
        for name, count in sorted(capacity.items())
        if is_gpu(name) and (int(count) or name == GPU_RESOURCE)
    }
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or []}
    # A real node has only its label: the number of its GPUs is in its capacity.
    gpus = simulated_gpus(node) or SimulatedGpus(labels.get(PRODUCT), 0, 0)
    return {
        "node": node["metadata"]["name"],
        "instance_type": labels.get("node.kubernetes.io/instance-type", ""),
        "gpu": gpus.model,
        "gpus": gpus.total,
        "layout": (labels.get(MIG_CONFIG) or _DEFAULT_LAYOUT) if MIG_STATE in labels else labels.get(MIG_CONFIG),
        "state": labels.get(MIG_STATE),
        "devices": devices,
        "ready": conditions.get("Ready") == "True",
        "lost_gpus": gpus.lost,
    }


def make_table_row(row: Mapping[str, Any]) -> Object:
    """Return a row of `make_row` for the table: allocatable devices, with the capacity where it differs."""
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
