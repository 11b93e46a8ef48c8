"""The usage of MIG instances in a cluster, computed from its Nodes, Pods and ResourceQuotas.

The API server knows the node of a pod and the resources that it requests, but not its instance or GPU: kubelet and
device plugin decide that. Usage is therefore reported per node. Fragmentation is that of a fixed layout, as seen by the
scheduler: a pod can use neither free instances of other profiles nor memory outside instances. It is averaged over the
profiles that the cluster's pods request, pending pods included. This is F_n(M) of the measure cited in
`inferstack.mig.fragmentation`, with instances in place of GPUs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu
from inferstack.mig.cost import Allocation, make_allocation
from inferstack.mig.gpu_operator import COUNT, PRODUCT
from inferstack.mig.pods import count_resources, pod_requests
from inferstack.mig.quotas import quota_allocations
from inferstack.mig.resources import GPU_RESOURCE, WHOLE, unescape_profile

_TERMINATED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class NodeUse:
    """The GPUs of one node."""

    node: str
    model: str
    """Name of the GPU model in the catalogue."""
    gpus: int
    instances: Mapping[str, int]
    """Allocatable instances by profile; whole GPUs as `WHOLE`."""
    used: Mapping[str, int]
    """Instances that pods use, by profile."""

    def slices(self, counts: Mapping[str, int]) -> tuple[int, int]:
        """Return memory and compute slices of instances by profile."""
        gpu_model = catalogue.gpu(self.model)
        memory = sum(_size(gpu_model, name)[0] * count for name, count in counts.items())
        return memory, sum(_size(gpu_model, name)[1] * count for name, count in counts.items())

    @property
    def idle(self) -> dict[str, int]:
        """Instances that no pod uses, by profile."""
        return {name: max(0, count - self.used.get(name, 0)) for name, count in self.instances.items()}

    @property
    def total(self) -> tuple[int, int]:
        """Memory and compute slices of its GPUs."""
        gpu_model = catalogue.gpu(self.model)
        return self.gpus * gpu_model.memory_slices, self.gpus * gpu_model.compute_slices

    @property
    def free_memory(self) -> int:
        """Memory slices that no pod uses, inside or outside instances."""
        return max(0, self.total[0] - self.slices(self.used)[0])

    def unusable(self, mix: Mapping[str, int]) -> float:
        """Return the free memory slices that the next pod cannot use, on average over the profiles of ``mix``."""
        demanded = sum(mix.values())
        if not demanded:
            return 0.0
        usable = sum(mix.get(name, 0) * self.slices({name: count})[0] for name, count in self.idle.items())
        return max(0.0, self.free_memory - usable / demanded)

    def fragmentation(self, mix: Mapping[str, int]) -> float:
        """Return the share of the free memory slices that the next pod cannot use, from 0 to 1."""
        return self.unusable(mix) / self.free_memory if self.free_memory else 0.0


@dataclass(frozen=True)
class Usage:
    """All nodes with GPUs that the catalogue knows."""

    nodes: tuple[NodeUse, ...]
    mix: Mapping[str, int]
    """Instances that pods use or request, by profile."""
    pending: Mapping[str, int]
    """Instances that pods without a node request, by profile."""
    namespaces: tuple[Allocation, ...]
    """What the pods of each namespace use. The last one, without an owner, is the idle rest."""
    quotas: tuple[Allocation, ...] = ()
    """What the quotas of each namespace allow."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """What is omitted, each with the reason: nodes with unknown GPUs, quotas for profiles of no GPU model here."""


def make_usage(
    nodes: Iterable[ReadOnlyObject],
    pods: Iterable[ReadOnlyObject],
    quotas: Iterable[ReadOnlyObject] = (),
    prices: Mapping[str, float] | None = None,
) -> Usage:
    """Return the usage of a cluster.

    Args:
        nodes: Nodes as the API server returns them, labelled by GPU feature discovery.
        pods: Pods of all namespaces.
        quotas: ResourceQuotas. Since a profile name does not determine the GPU model, each counts for the model with
            the most GPUs among those that have its profiles.
        prices: USD per hour of a whole GPU, by GPU model. Without a price the cost is unknown.

    Raises:
        LayoutError: a quantity of a GPU resource that is not a whole number.
    """
    nodes_by_name: dict[str, tuple[Gpu, int, str, ReadOnlyObject]] = {}
    unknown = {}
    for node in nodes:
        name, product = node["metadata"]["name"], _labels(node).get(PRODUCT, "")
        gpu_model, single = find_gpu_model(product)
        if gpu_model is not None:
            nodes_by_name[name] = (gpu_model, _gpus(node, gpu_model, single), single, node)
        elif product:
            unknown[name] = f"{product} is not in the catalogue"
    counts_by_node: dict[str, Counter[str]] = {name: Counter() for name in nodes_by_name}
    counts_by_namespace: dict[str, dict[str, Counter[str]]] = {}
    pending: Counter[str] = Counter()
    for pod in pods:
        requests = pod_requests(pod)
        node_name = (pod.get("spec") or {}).get("nodeName")
        if not requests or (pod.get("status") or {}).get("phase") in _TERMINATED:
            continue
        if node_name in nodes_by_name:
            gpu_model, _, single, _ = nodes_by_name[node_name]
            profiles = _profiles(requests, gpu_model, single)
            counts_by_node[node_name].update(profiles)
            counts_by_namespace.setdefault(pod["metadata"]["namespace"], {}).setdefault(node_name, Counter()).update(
                profiles
            )
        elif not node_name:
            pending.update(_profiles(requests, None, ""))
    uses = tuple(
        NodeUse(name, gpu_model.name, gpus, _profiles(_offered(node), gpu_model, single), dict(counts_by_node[name]))
        for name, (gpu_model, gpus, single, node) in sorted(nodes_by_name.items())
    )
    mix = pending.copy()
    for counts in counts_by_node.values():
        mix.update(counts)
    gpu_models: Counter[str] = Counter()
    for use in uses:
        gpu_models[use.model] += use.gpus
    allocations, left_out = quota_allocations(gpu_models, quotas, prices or {})
    return Usage(
        uses,
        dict(mix),
        dict(pending),
        tuple(_namespace_allocations(uses, counts_by_namespace, prices or {})),
        allocations,
        {**unknown, **left_out},
    )


def _labels(obj: ReadOnlyObject) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def find_gpu_model(product: str) -> tuple[Gpu | None, str]:
    """Return the GPU model of a product label, and the profile under the MIG strategy ``single``."""
    plain, _, suffix = product.partition("-MIG-")
    for gpu_model in catalogue.load().gpus.values():
        if gpu_model.product == plain:
            profile = unescape_profile(suffix)
            return gpu_model, profile if profile in gpu_model.profiles else ""
    return None, ""


def _gpus(node: ReadOnlyObject, gpu_model: Gpu, single: str) -> int:
    """Return the number of GPUs. Under ``single`` the label counts instances: then the fewest GPUs that hold them."""
    count = int(_labels(node).get(COUNT, "0"))
    return -(-count // gpu_model.profile(single).max_count) if single else count


def _offered(node: ReadOnlyObject) -> Mapping[str, int]:
    status = node.get("status") or {}
    return count_resources(node["metadata"]["name"], status.get("allocatable") or {})


def _profiles(resources: Mapping[str, int], gpu_model: Gpu | None, single: str) -> dict[str, int]:
    """Return counts by profile from counts by resource, for one GPU model or, if None, for any."""
    gpu_models = catalogue.load().gpus.values() if gpu_model is None else [gpu_model]
    by_resource = {profile.resource: name for item in gpu_models for name, profile in item.profiles.items()}
    nodes_by_name: Counter[str] = Counter()
    for resource, count in resources.items():
        if resource == GPU_RESOURCE:
            nodes_by_name[single or WHOLE] += count
        elif resource in by_resource:
            nodes_by_name[by_resource[resource]] += count
    return {name: count for name, count in nodes_by_name.items() if count}


def _size(gpu_model: Gpu, name: str) -> tuple[int, int]:
    if name == WHOLE:
        return gpu_model.memory_slices, gpu_model.compute_slices
    return gpu_model.profile(name).memory_slices, gpu_model.profile(name).compute_slices


def _allocation(owner: str, gpu_model: Gpu, name: str, count: int, price: float | None) -> Allocation:
    if name == WHOLE:
        usd = None if price is None else count * price
        return Allocation(
            owner, count, count * gpu_model.memory_slices, count * gpu_model.compute_slices, Fraction(count), usd
        )
    return make_allocation(owner, gpu_model.name, name, count, price)


def _namespace_allocations(
    uses: Sequence[NodeUse],
    counts_by_namespace: Mapping[str, Mapping[str, Mapping[str, int]]],
    prices: Mapping[str, float],
) -> Iterable[Allocation]:
    """Yield the allocation of each namespace and of the idle rest. They add up to the price of all GPUs."""
    allocations: dict[str, Allocation] = {}
    idle = Allocation("")
    for use in uses:
        gpu_model, price = catalogue.gpu(use.model), prices.get(use.model)
        node_allocations = [
            _allocation(owner, gpu_model, name, count, price)
            for owner, by_node in counts_by_namespace.items()
            for name, count in by_node.get(use.node, {}).items()
        ]
        total = sum((item.gpus for item in node_allocations), Fraction(0))
        # Shares of a GPU can exceed 1 (see `cost`). The GPU of a pod is unknown, so shares are scaled by node.
        scale = Fraction(use.gpus) / total if total > use.gpus else Fraction(1)
        for item in node_allocations:
            part = item.gpus * scale
            usd = None if price is None else float(part) * price
            allocation = Allocation(item.owner, item.instances, item.memory_slices, item.compute_slices, part, usd)
            allocations[item.owner] = allocations.get(item.owner, Allocation(item.owner)).plus(allocation)
        rest = use.gpus - total * scale
        idle = idle.plus(Allocation("", gpus=rest, usd_per_hour=None if price is None else float(rest) * price))
    yield from (allocations[owner] for owner in sorted(allocations))
    if uses:
        yield idle
