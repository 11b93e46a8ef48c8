"""The NVIDIA device plugin, and how the kubelet reports the resources that it registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inferstack.mig.layout import GpuState, advertised_resources
from inferstack.mig.resources import is_gpu
from inferstack.mig.sharing import CONFIG_LABEL, RENAMED, share
from rehearsal.hardware import Faults, Hardware
from rehearsal.simulators.desired import Desired
from rehearsal.simulators.nodes.policy import Policy


def desired(
    node: Mapping[str, Any],
    hardware: Hardware,
    policy: Policy | None,
    states: Sequence[GpuState],
    *,
    pending: bool,
    faults: Faults,
) -> Desired:
    """Return the GPU resources of a node.

    The plugin is stopped while the MIG manager works (``pending``): the kubelet keeps the capacity and counts every
    device as unhealthy. A resource that is no longer registered stays in the status with 0, as with a real kubelet.
    Lost GPUs are those with the highest indexes. Their devices leave the allocatable resources but stay in the
    capacity.

    A shared device counts once per replica. A node whose label names a missing time-slicing configuration has no
    plugin, and its known resources stay with 0.
    """
    status = node.get("status") or {}
    reported = {key for part in ("capacity", "allocatable") for key in status.get(part) or {} if _is_gpu_resource(key)}
    if policy is None or not policy.device_plugin or hardware.gpu is None:
        removed: dict[str, str | None] = dict.fromkeys(reported)
        return Desired(capacity=removed, allocatable=removed)
    lost = range(max(0, hardware.gpus - faults.lost_gpus), hardware.gpus)
    now = advertised_resources(hardware.gpu, states, policy.strategy, lost)
    zero = dict.fromkeys(reported, "0")
    sharing = policy.sharing_of((node["metadata"].get("labels") or {}).get(CONFIG_LABEL, ""))
    if sharing is None:
        return Desired(capacity=dict(zero), allocatable=dict(zero))
    capacity = {name: str(count) for name, count in share(now.capacity, sharing).items()}
    allocatable = {name: "0" if pending else str(count) for name, count in share(now.allocatable, sharing).items()}
    return Desired(capacity={**zero, **capacity}, allocatable={**zero, **allocatable})


def _is_gpu_resource(name: str) -> bool:
    return is_gpu(name.removesuffix(RENAMED))
