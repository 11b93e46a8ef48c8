"""The fleet and its demands, read from a cluster's Nodes, Pods and InferenceJobs, given as plain dicts.

The API server does not know everything. The following assumptions never affect whether a plan is valid:

* Which GPU of its node a pod uses is decided by kubelet and device plugin. Pods are assigned to instances of their
  profile where they add the least fragmentation. The fleet has the scope ``node``, in which the GPU does not matter.
* Where on a GPU the driver placed an instance is not known. A placement that the driver could have chosen is assumed.
* A node whose labels, layout and resources disagree is skipped, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.mig.catalogue import Gpu
from inferstack.mig.errors import LayoutError
from inferstack.mig.fleet import Fleet, FleetGpu, Instance
from inferstack.mig.fragmentation import fragmentation_score, used_slices
from inferstack.mig.gpu_operator import COUNT, MIG_CONFIG, MIG_STATE, PRODUCT, STRATEGY
from inferstack.mig.layout import GpuState, apply_layout, mig_disabled
from inferstack.mig.mig_parted import Layout
from inferstack.mig.placement import require_placement
from inferstack.mig.planner.model import Demand
from inferstack.mig.planner.workloads import (
    CommonLabels,
    full_name,
    labels_of,
    make_demands,
    name_of,
    pin_reason,
    workload_of,
)
from inferstack.mig.pods import pod_requests
from inferstack.mig.resources import GPU_RESOURCE, is_gpu, is_mig
from inferstack.mig.usage import find_gpu_model

_TERMINATED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class ClusterFleet:
    """The fleet of a cluster, its demands, and what the planner leaves out."""

    fleet: Fleet
    demands: tuple[Demand, ...]
    skipped: Mapping[str, str]
    """Nodes with GPUs that are not planned, each with the reason."""
    ignored: Mapping[str, str]
    """Pending pods without a demand, each with the reason."""
    pinned: Mapping[str, str]
    """Pods that are not moved although moves are allowed, each with the reason."""


def read_cluster(
    nodes: Iterable[ReadOnlyObject],
    pods: Iterable[ReadOnlyObject],
    jobs: Iterable[ReadOnlyObject],
    layouts: Mapping[str, Layout],
    *,
    job_label: str,
    moves: bool = False,
) -> ClusterFleet:
    """Return the fleet and its demands.

    Args:
        nodes: Nodes, labelled by GPU feature discovery and the MIG manager.
        pods: Pods of all namespaces.
        jobs: InferenceJobs. Replicas without a pod are demands.
        layouts: the layouts of the MIG manager, by name.
        job_label: the pod label that names the job of a pod.
        moves: whether pods may be moved; if not, every pod is pinned.

    Raises:
        LayoutError: a quantity of a GPU resource that is not a whole number.
    """
    planned_nodes: dict[str, tuple[Gpu, tuple[GpuState, ...]]] = {}
    labels: dict[str, Mapping[str, str]] = {}
    skipped: dict[str, str] = {}
    for node in sorted(nodes, key=name_of):
        labels[name_of(node)] = labels_of(node)
        result = _read_node(node, layouts)
        if isinstance(result, str):
            skipped[name_of(node)] = result
        elif result is not None:
            planned_nodes[name_of(node)] = result
    by_node: dict[str, list[ReadOnlyObject]] = {}
    for pod in sorted(pods, key=full_name):
        if (pod.get("status") or {}).get("phase") not in _TERMINATED and pod_requests(pod):
            by_node.setdefault(str((pod.get("spec") or {}).get("nodeName") or ""), []).append(pod)
    pending = by_node.pop("", [])
    for name in list(planned_nodes):
        if whole_pods := [full_name(pod) for pod in by_node.get(name, ()) if GPU_RESOURCE in pod_requests(pod)]:
            skipped[name] = f"the pod {whole_pods[0]} uses a whole GPU"
            del planned_nodes[name]
    pinned: dict[str, str] = {}
    gpus: list[FleetGpu] = []
    common_labels = CommonLabels([labels[name] for name in planned_nodes])
    for name, (gpu_model, states) in planned_nodes.items():
        instances = _NodeInstances(name, gpu_model, states)
        problem = instances.assign(by_node.get(name, ()), job_label, moves, common_labels, pinned)
        if problem:
            skipped[name] = problem
        else:
            gpus.extend(instances.gpus())
    demands, ignored = make_demands(pending, jobs, [pod for pods in by_node.values() for pod in pods], job_label)
    return ClusterFleet(Fleet(tuple(gpus), "node"), demands, skipped, ignored, pinned)


def _read_node(node: ReadOnlyObject, layouts: Mapping[str, Layout]) -> tuple[Gpu, tuple[GpuState, ...]] | str | None:
    """Return the GPU model and the state of each GPU; a reason to skip the node; or None without GPUs."""
    labels = labels_of(node)
    if PRODUCT not in labels and not any(is_gpu(name) for name in _capacity(node)):
        return None
    product = labels.get(PRODUCT, "")
    gpu_model, single = find_gpu_model(product)
    if gpu_model is None:
        return f"the GPU {product!r} is not in the catalogue" if product else f"it lacks the label {PRODUCT}"
    if not gpu_model.profiles:
        return f"{gpu_model.name} does not support MIG"
    if single or labels.get(STRATEGY) != "mixed":
        return f"its MIG strategy is {labels.get(STRATEGY, 'none')}: only mixed is planned"
    if (node.get("spec") or {}).get("unschedulable"):
        return "it is cordoned"
    conditions = (node.get("status") or {}).get("conditions") or []
    if any(condition.get("type") == "Ready" and condition.get("status") != "True" for condition in conditions):
        return "it is not ready"
    if labels.get(MIG_STATE, "success") != "success":
        return f"{MIG_STATE} is {labels[MIG_STATE]}"
    if not labels.get(COUNT, "").isdecimal() or int(labels[COUNT]) < 1:
        return f"the label {COUNT} is not a number of GPUs"
    states = mig_disabled(int(labels[COUNT]))
    name = labels.get(MIG_CONFIG)
    if name is not None and name not in layouts:
        return f"its layout {name} is not in the MIG manager's configuration"
    if name is not None:
        try:
            states = apply_layout(layouts[name], gpu_model, states)
        except LayoutError as error:
            return f"its layout {name}: {error}"
    if problem := _disagreement(node, gpu_model, states):
        return problem
    return gpu_model, states


def _disagreement(node: ReadOnlyObject, gpu_model: Gpu, states: Sequence[GpuState]) -> str:
    """Return how a layout and the node's resources differ, or an empty string."""
    expected: Counter[str] = Counter()
    for state in states:
        for profile, count in state.profiles.items():
            expected[gpu_model.profile(profile).resource] += count
    offered = {name: int(count) for name, count in _capacity(node).items() if is_mig(name) and str(count) != "0"}
    if offered == dict(expected):
        return ""
    name = min(name for name in {*offered, *expected} if offered.get(name, 0) != expected[name])
    return f"it offers {offered.get(name, 0)} of {name}, its layout {expected[name]}"


class _NodeInstances:
    """The instances of a node, while pods are assigned to them."""

    def __init__(self, name: str, gpu_model: Gpu, states: Sequence[GpuState]) -> None:
        self._name = name
        self._gpu_model = gpu_model
        self._gpus = [
            {
                placement.start: Instance(placement.start, placement.profile)
                for placement in require_placement(gpu_model, state.profiles)
            }
            if state.profiles
            else {}
            for state in states
        ]
        self._used_slices = [(0, 0)] * len(self._gpus)
        """Memory slices that pods use, as bits, and their compute slices, by GPU."""

    def gpus(self) -> list[FleetGpu]:
        """Return the GPUs by index."""
        return [self._gpu(index) for index in range(len(self._gpus))]

    def _gpu(self, index: int) -> FleetGpu:
        instances = tuple(instance for _, instance in sorted(self._gpus[index].items()))
        return FleetGpu(f"{self._name}/{index}", self._name, self._gpu_model.name, instances)

    def assign(
        self,
        pods: Iterable[ReadOnlyObject],
        job_label: str,
        moves: bool,
        common_labels: CommonLabels,
        pinned: dict[str, str],
    ) -> str:
        """Assign the pods to instances. Return why that is impossible, or an empty string."""
        by_resource = {profile.resource: name for name, profile in self._gpu_model.profiles.items()}
        requests = [
            (
                -self._gpu_model.profiles[by_resource[resource]].memory_slices,
                full_name(pod),
                by_resource[resource],
                count,
                pod,
            )
            for pod in pods
            for resource, count in pod_requests(pod).items()
            if resource in by_resource
        ]
        for _, name, profile, count, pod in sorted(requests, key=lambda request: request[:3]):
            reason = pin_reason(pod, common_labels) or (
                "it has several instances" if sum(pod_requests(pod).values()) > 1 else ""
            )
            if moves and reason:
                pinned[name] = reason
            for number in range(count):
                pod_name = name if not number else f"{name}#{number + 1}"
                placement = self._best_instance(profile)
                if placement is None:
                    return f"its pods use more instances of {profile} than it has"
                index, start = placement
                instance = Instance(
                    start, profile, self._unique(pod_name), workload_of(pod, job_label), bool(reason) or not moves
                )
                self._gpus[index][start] = instance
                mask, slices = used_slices(self._gpu_model.name, [(start, profile)])
                self._used_slices[index] = self._used_slices[index][0] | mask, self._used_slices[index][1] + slices
        return ""

    def _unique(self, name: str) -> str:
        taken = {instance.pod for instances in self._gpus for instance in instances.values()}
        candidates = (name, *(f"{name}#{n}" for n in range(2, len(taken) + 3)))
        return next(candidate for candidate in candidates if candidate not in taken)

    def _best_instance(self, profile: str) -> tuple[int, int] | None:
        free = [
            (index, start)
            for index, instances in enumerate(self._gpus)
            for start, instance in instances.items()
            if instance.profile == profile and instance.idle
        ]
        return min(free, key=lambda placement: (self._added_fragmentation(*placement), placement), default=None)

    def _added_fragmentation(self, index: int, start: int) -> int:
        """Return the fragmentation that the use of this instance adds."""
        mask, compute = self._used_slices[index]
        profile = self._gpu_model.profiles[self._gpus[index][start].profile]
        bits = ((1 << profile.memory_slices) - 1) << start
        after = fragmentation_score(self._gpu_model.name, mask | bits, compute + profile.compute_slices)
        return after - fragmentation_score(self._gpu_model.name, mask, compute)


def _capacity(node: ReadOnlyObject) -> Mapping[str, Any]:
    return (node.get("status") or {}).get("capacity") or {}
