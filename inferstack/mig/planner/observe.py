"""A fleet and its demands as a cluster shows them: from Nodes, Pods and InferenceJobs, given as plain dicts.

What a cluster does not show is settled here so that no plan can rest on it:

* On which GPU of its node a pod runs is between the kubelet and the device plugin. Pods are put on instances of their
  profile where they break up least, and the fleet has the scope ``node``, in which it makes no difference to what may
  change.
* Where on a GPU the driver put an instance is not told either: a placement that the driver could have chosen is taken.
* A node whose labels, layout and resources do not agree is left out, with the reason.
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
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE
from inferstack.mig.layout import GpuState, apply_layout, mig_disabled
from inferstack.mig.mig_parted import Layout
from inferstack.mig.placement import require_placement
from inferstack.mig.planner.model import Demand
from inferstack.mig.pods import pod_requests
from inferstack.mig.resources import GPU_RESOURCE, is_gpu, is_mig, profile_of
from inferstack.mig.usage import board_of

COUNT = f"{GPU_RESOURCE}.count"
PRODUCT = f"{GPU_RESOURCE}.product"
STRATEGY = "nvidia.com/mig.strategy"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""Annotation; ``false`` on a pod that must not be moved."""
HOSTNAME = "kubernetes.io/hostname"
_OVER = ("Succeeded", "Failed")
_RECREATED = ("ReplicaSet", "StatefulSet", "ReplicationController")
"""Owners that start a pod again, on any node."""


@dataclass(frozen=True)
class Observed:
    """What was found."""

    fleet: Fleet
    demands: tuple[Demand, ...]
    skipped: Mapping[str, str]
    """Nodes with GPUs that are not planned, and why."""
    ignored: Mapping[str, str]
    """Waiting pods that no demand stands for, and why."""
    pinned: Mapping[str, str]
    """Pods that are not moved though moves are allowed, and why."""


def observe(
    nodes: Iterable[ReadOnlyObject],
    pods: Iterable[ReadOnlyObject],
    jobs: Iterable[ReadOnlyObject],
    layouts: Mapping[str, Layout],
    *,
    job_label: str,
    moves: bool = False,
) -> Observed:
    """Return the fleet and what is wanted beyond what runs.

    Args:
        nodes: Nodes, labelled by GPU feature discovery and the MIG manager.
        pods: Pods of all namespaces.
        jobs: InferenceJobs; replicas that have no pod yet are demands.
        layouts: the MIG manager's, by name.
        job_label: the label of a pod that names its job.
        moves: pods may be moved; else every one is pinned.

    Raises:
        LayoutError: a quantity of a GPU resource that is not a whole number.
    """
    found: dict[str, tuple[Gpu, tuple[GpuState, ...]]] = {}
    labels: dict[str, Mapping[str, str]] = {}
    skipped: dict[str, str] = {}
    for node in sorted(nodes, key=_name):
        labels[_name(node)] = _labels(node)
        read = _read_node(node, layouts)
        if isinstance(read, str):
            skipped[_name(node)] = read
        elif read is not None:
            found[_name(node)] = read
    by_node: dict[str, list[ReadOnlyObject]] = {}
    for pod in sorted(pods, key=_full_name):
        if (pod.get("status") or {}).get("phase") not in _OVER and pod_requests(pod):
            by_node.setdefault(str((pod.get("spec") or {}).get("nodeName") or ""), []).append(pod)
    waiting = by_node.pop("", [])
    for name in list(found):
        if whole_pods := [_full_name(pod) for pod in by_node.get(name, ()) if GPU_RESOURCE in pod_requests(pod)]:
            skipped[name] = f"the pod {whole_pods[0]} uses a whole GPU"
            del found[name]
    pinned: dict[str, str] = {}
    gpus: list[FleetGpu] = []
    planned = _Everywhere([labels[name] for name in found])
    for name, (board, states) in found.items():
        seats = _Node(name, board, states)
        problem = seats.seat(by_node.get(name, ()), job_label, moves, planned, pinned)
        if problem:
            skipped[name] = problem
        else:
            gpus.extend(seats.gpus())
    demands, ignored = _demands(waiting, jobs, [pod for found in by_node.values() for pod in found], job_label)
    return Observed(Fleet(tuple(gpus), "node"), demands, skipped, ignored, pinned)


def _read_node(node: ReadOnlyObject, layouts: Mapping[str, Layout]) -> tuple[Gpu, tuple[GpuState, ...]] | str | None:
    """Return the board and what each GPU is cut into; a reason to leave the node out; None without GPUs."""
    labels = _labels(node)
    if PRODUCT not in labels and not any(is_gpu(name) for name in _capacity(node)):
        return None
    product = labels.get(PRODUCT, "")
    board, single = board_of(product)
    if board is None:
        return f"the GPU {product!r} is not in the catalogue" if product else f"it lacks the label {PRODUCT}"
    if not board.profiles:
        return f"a {board.name} cannot be cut"
    if single or labels.get(STRATEGY) != "mixed":
        return f"its MIG strategy is {labels.get(STRATEGY, 'none')}: only mixed is planned"
    if (node.get("spec") or {}).get("unschedulable"):
        return "it is cordoned"
    conditions = (node.get("status") or {}).get("conditions") or []
    if any(one.get("type") == "Ready" and one.get("status") != "True" for one in conditions):
        return "it is not ready"
    if labels.get(MIG_STATE, "success") != "success":
        return f"{MIG_STATE} is {labels[MIG_STATE]}"
    if not labels.get(COUNT, "").isdecimal() or int(labels[COUNT]) < 1:
        return f"the label {COUNT} is no number of GPUs"
    states = mig_disabled(int(labels[COUNT]))
    name = labels.get(MIG_CONFIG)
    if name is not None and name not in layouts:
        return f"its layout {name} is not in the MIG manager's configuration"
    if name is not None:
        try:
            states = apply_layout(layouts[name], board, states)
        except LayoutError as error:
            return f"its layout {name}: {error}"
    if problem := _disagreement(node, board, states):
        return problem
    return board, states


def _disagreement(node: ReadOnlyObject, board: Gpu, states: Sequence[GpuState]) -> str:
    """Say where a layout and the node's own resources differ."""
    expected: Counter[str] = Counter()
    for state in states:
        for profile, count in state.profiles.items():
            expected[board.profile(profile).resource] += count
    offered = {name: int(count) for name, count in _capacity(node).items() if is_mig(name) and str(count) != "0"}
    if offered == dict(expected):
        return ""
    name = min(name for name in {*offered, *expected} if offered.get(name, 0) != expected[name])
    return f"it offers {offered.get(name, 0)} of {name}, its layout {expected[name]}"


class _Everywhere:
    """Labels that all nodes have; remembered, as many pods ask for the same."""

    def __init__(self, nodes: Sequence[Mapping[str, str]]) -> None:
        self._nodes = nodes
        self._known: dict[tuple[str, str], bool] = {}

    def have(self, key: str, value: str) -> bool:
        """Tell whether every node has this label."""
        if (key, value) not in self._known:
            self._known[key, value] = all(labels.get(key) == value for labels in self._nodes)
        return self._known[key, value]


class _Node:
    """The instances of a node while pods are put on them."""

    def __init__(self, name: str, board: Gpu, states: Sequence[GpuState]) -> None:
        self._name = name
        self._board = board
        self._gpus = [
            {place.start: Instance(place.start, place.profile) for place in require_placement(board, state.profiles)}
            if state.profiles
            else {}
            for state in states
        ]
        self._used = [(0, 0)] * len(self._gpus)
        """Memory slices that pods use, as bits, and their compute slices, by GPU."""

    def gpus(self) -> list[FleetGpu]:
        """Return the GPUs by index."""
        return [self._gpu(index) for index in range(len(self._gpus))]

    def _gpu(self, index: int) -> FleetGpu:
        seats = tuple(seat for _, seat in sorted(self._gpus[index].items()))
        return FleetGpu(f"{self._name}/{index}", self._name, self._board.name, seats)

    def seat(
        self,
        pods: Iterable[ReadOnlyObject],
        job_label: str,
        moves: bool,
        planned: _Everywhere,
        pinned: dict[str, str],
    ) -> str:
        """Put the pods on instances; say what is wrong where there are not enough."""
        by_resource = {profile.resource: name for name, profile in self._board.profiles.items()}
        wanted = [
            (
                -self._board.profiles[by_resource[resource]].memory_slices,
                _full_name(pod),
                by_resource[resource],
                count,
                pod,
            )
            for pod in pods
            for resource, count in pod_requests(pod).items()
            if resource in by_resource
        ]
        for _, name, profile, count, pod in sorted(wanted, key=lambda one: one[:3]):
            why = _pin(pod, planned) or ("it has several instances" if sum(pod_requests(pod).values()) > 1 else "")
            if moves and why:
                pinned[name] = why
            for number in range(count):
                seat_name = name if not number else f"{name}#{number + 1}"
                place = self._best(profile)
                if place is None:
                    return f"its pods use more instances of {profile} than it has"
                index, start = place
                used = Instance(start, profile, self._unique(seat_name), _group(pod, job_label), bool(why) or not moves)
                self._gpus[index][start] = used
                taken, slices = used_slices(self._board.name, [(start, profile)])
                self._used[index] = self._used[index][0] | taken, self._used[index][1] + slices
        return ""

    def _unique(self, name: str) -> str:
        taken = {seat.pod for seats in self._gpus for seat in seats.values()}
        return next(one for one in (name, *(f"{name}#{n}" for n in range(2, len(taken) + 3))) if one not in taken)

    def _best(self, profile: str) -> tuple[int, int] | None:
        free = [
            (index, start)
            for index, seats in enumerate(self._gpus)
            for start, seat in seats.items()
            if seat.profile == profile and seat.idle
        ]
        return min(free, key=lambda place: (self._worse(*place), place), default=None)

    def _worse(self, index: int, start: int) -> int:
        """Return by how much a GPU is broken up more when this instance is used."""
        mask, compute = self._used[index]
        profile = self._board.profiles[self._gpus[index][start].profile]
        bits = ((1 << profile.memory_slices) - 1) << start
        after = fragmentation_score(self._board.name, mask | bits, compute + profile.compute_slices)
        return after - fragmentation_score(self._board.name, mask, compute)


def _pin(pod: ReadOnlyObject, planned: _Everywhere) -> str:
    """Say why a pod cannot be moved, or nothing."""
    owners = [one.get("kind", "") for one in pod["metadata"].get("ownerReferences") or [] if one.get("controller")]
    spec = pod.get("spec") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    if not owners:
        return "nobody would start it again"
    if owners[0] not in _RECREATED:
        return f"it belongs to a {owners[0]}"
    if (pod["metadata"].get("annotations") or {}).get(SAFE_TO_EVICT) == "false":
        return f"{SAFE_TO_EVICT} is false"
    if affinity.get("requiredDuringSchedulingIgnoredDuringExecution"):
        return "it has a required node affinity"
    for key, value in (spec.get("nodeSelector") or {}).items():
        if not planned.have(key, value):
            return f"its nodeSelector {key}={value} does not fit every planned node"
    return ""


def _demands(
    waiting: Iterable[ReadOnlyObject], jobs: Iterable[ReadOnlyObject], placed: Sequence[ReadOnlyObject], job_label: str
) -> tuple[tuple[Demand, ...], dict[str, str]]:
    """Make demands of waiting pods, one for equal pods of one owner, and of replicas without a pod."""
    ignored: dict[str, str] = {}
    counts: Counter[tuple[str, str, int, int | None]] = Counter()
    there: Counter[str] = Counter(_group(pod, job_label) for pod in placed)
    priorities: dict[str, int] = {}
    for pod in waiting:
        asked = pod_requests(pod)
        (resource, number), *more = asked.items()
        group = _group(pod, job_label)
        there[group] += 1
        priority = int((pod.get("spec") or {}).get("priority") or 0)
        priorities[group] = priority
        if (pod.get("spec") or {}).get("schedulingGates"):
            ignored[_full_name(pod)] = "its scheduling gates are closed"
        elif resource == GPU_RESOURCE or more:
            ignored[_full_name(pod)] = "it asks for whole GPUs" if not more else "it asks for several kinds of GPU"
        elif number > 1:
            ignored[_full_name(pod)] = f"it asks for {number} instances at once, on one node"
        else:
            counts[group, profile_of(resource), priority, _limit(pod)] += 1
    for job in jobs:
        group = _full_name(job)
        missing = int(job["spec"].get("replicas", 1)) - there[group]
        limits = job["spec"]["resources"]["limits"]
        kind = next((name for name in limits if is_mig(name)), "")
        if missing > 0 and kind and int(limits[kind]) == 1:
            counts[group, profile_of(kind), priorities.get(group, 0), None] += missing
    names = Counter(group for group, *_ in counts)
    demands = tuple(
        Demand(group if names[group] == 1 else f"{group} {profile} {priority}", count, priority, profile, 0, 0, limit)
        for (group, profile, priority, limit), count in sorted(counts.items(), key=lambda item: repr(item[0]))
    )
    return demands, ignored


def _limit(pod: ReadOnlyObject) -> int | None:
    """Return 1 where pods of the same labels must not share a node."""
    rules = ((pod.get("spec") or {}).get("affinity") or {}).get("podAntiAffinity") or {}
    own = _labels(pod)
    for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []:
        wanted = (term.get("labelSelector") or {}).get("matchLabels") or {}
        if term.get("topologyKey") == HOSTNAME and wanted and wanted.items() <= own.items():
            return 1
    return None


def _group(pod: ReadOnlyObject, job_label: str) -> str:
    """Return namespace and name of the job or workload that a pod belongs to."""
    namespace, labels = pod["metadata"].get("namespace", ""), _labels(pod)
    if job_label in labels:
        return f"{namespace}/{labels[job_label]}"
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            # A Deployment's ReplicaSets differ in the hash only.
            return f"{namespace}/{str(owner['name']).removesuffix('-' + labels.get('pod-template-hash', ''))}"
    return _full_name(pod)


def _capacity(node: ReadOnlyObject) -> Mapping[str, Any]:
    return (node.get("status") or {}).get("capacity") or {}


def _labels(obj: ReadOnlyObject) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _name(obj: ReadOnlyObject) -> str:
    return str(obj["metadata"]["name"])


def _full_name(obj: ReadOnlyObject) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
