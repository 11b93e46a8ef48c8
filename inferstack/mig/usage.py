"""Who uses which MIG instances of a cluster, from its Nodes, Pods and ResourceQuotas alone.

The API server knows which node a pod runs on and which resource it asked for, not which instance, nor on which GPU:
that is between the kubelet and the device plugin. So all is told by node, and the fragmentation is that of a fixed
layout, as the scheduler meets it: of what no pod uses on a node, an instance of another profile, or memory that is in
no instance, is of no use to a pod; averaged over the profiles that the cluster's pods ask for, waiting ones too. That
is F_n(M) of the measure that `inferstack.mig.fragmentation` cites, with instances in the place of GPUs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu
from inferstack.mig.cost import Line, line
from inferstack.mig.pods import count_resources, pod_requests
from inferstack.mig.quotas import read_quotas
from inferstack.mig.resources import GPU_RESOURCE, WHOLE, unescape_profile

_PRODUCT, _COUNT = f"{GPU_RESOURCE}.product", f"{GPU_RESOURCE}.count"
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True)
class NodeUse:
    """The GPUs of one node."""

    node: str
    model: str
    """Name of the board in the catalogue."""
    gpus: int
    instances: Mapping[str, int]
    """By profile, what the node offers; whole GPUs as `WHOLE`."""
    used: Mapping[str, int]
    """By profile, what its pods hold."""

    def slices(self, counts: Mapping[str, int]) -> tuple[int, int]:
        """Return memory and compute slices of instances by profile."""
        board = catalogue.gpu(self.model)
        memory = sum(_size(board, name)[0] * count for name, count in counts.items())
        return memory, sum(_size(board, name)[1] * count for name, count in counts.items())

    @property
    def idle(self) -> dict[str, int]:
        """Instances that no pod holds, by profile."""
        return {name: max(0, count - self.used.get(name, 0)) for name, count in self.instances.items()}

    @property
    def total(self) -> tuple[int, int]:
        """Memory and compute slices of its GPUs."""
        board = catalogue.gpu(self.model)
        return self.gpus * board.memory_slices, self.gpus * board.compute_slices

    @property
    def free_memory(self) -> int:
        """Memory slices that no pod holds, in an instance or in none."""
        return max(0, self.total[0] - self.slices(self.used)[0])

    def unusable(self, mix: Mapping[str, int]) -> float:
        """Return the free memory slices that the next pod cannot use, on average over the profiles of ``mix``."""
        wanted = sum(mix.values())
        if not wanted:
            return 0.0
        usable = sum(mix.get(name, 0) * self.slices({name: count})[0] for name, count in self.idle.items())
        return max(0.0, self.free_memory - usable / wanted)

    def fragmentation(self, mix: Mapping[str, int]) -> float:
        """Return the share of the free memory slices that the next pod cannot use, from 0 to 1."""
        return self.unusable(mix) / self.free_memory if self.free_memory else 0.0


@dataclass(frozen=True)
class Usage:
    """All nodes with GPUs that the catalogue knows."""

    nodes: tuple[NodeUse, ...]
    mix: Mapping[str, int]
    """Instances that pods hold or wait for, by profile."""
    waiting: Mapping[str, int]
    """Of these, those of pods that have no node yet."""
    namespaces: tuple[Line, ...]
    """What the pods of each namespace hold; the last one, without a name, is what nobody pays for."""
    quotas: tuple[Line, ...] = ()
    """What each namespace may hold at most."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """What was left out, and why: nodes whose GPUs are not in the catalogue, quotas for profiles of no board here."""


def make_usage(
    nodes: Iterable[ReadOnlyObject],
    pods: Iterable[ReadOnlyObject],
    quotas: Iterable[ReadOnlyObject] = (),
    prices: Mapping[str, float] | None = None,
) -> Usage:
    """Return who uses what.

    Args:
        nodes: Nodes as the API server gives them, labelled by GPU feature discovery.
        pods: Pods of all namespaces.
        quotas: ResourceQuotas; counted for the board of most GPUs that has their profiles, as a profile's name alone
            does not tell its board.
        prices: USD for an hour of a whole GPU, by board; without one, a namespace's cost is not known.

    Raises:
        LayoutError: a quantity of a GPU resource that is not a whole number.
    """
    found: dict[str, tuple[Gpu, int, str, ReadOnlyObject]] = {}
    unknown = {}
    for node in nodes:
        name, product = node["metadata"]["name"], _labels(node).get(_PRODUCT, "")
        board, single = board_of(product)
        if board is not None:
            found[name] = (board, _gpus(node, board, single), single, node)
        elif product:
            unknown[name] = f"{product} is not in the catalogue"
    held: dict[str, Counter[str]] = {name: Counter() for name in found}
    owners: dict[str, dict[str, Counter[str]]] = {}
    waiting: Counter[str] = Counter()
    for pod in pods:
        asked = pod_requests(pod)
        where = (pod.get("spec") or {}).get("nodeName")
        if not asked or (pod.get("status") or {}).get("phase") in _OVER:
            continue
        if where in found:
            board, _, single, _ = found[where]
            profiles = _profiles(asked, board, single)
            held[where].update(profiles)
            owners.setdefault(pod["metadata"]["namespace"], {}).setdefault(where, Counter()).update(profiles)
        elif not where:
            waiting.update(_profiles(asked, None, ""))
    uses = tuple(
        NodeUse(name, board.name, gpus, _profiles(_offered(node), board, single), dict(held[name]))
        for name, (board, gpus, single, node) in sorted(found.items())
    )
    mix = waiting.copy()
    for counts in held.values():
        mix.update(counts)
    boards: Counter[str] = Counter()
    for use in uses:
        boards[use.model] += use.gpus
    lines, left_out = read_quotas(boards, quotas, prices or {})
    return Usage(
        uses,
        dict(mix),
        dict(waiting),
        tuple(_namespaces(uses, owners, prices or {})),
        lines,
        {**unknown, **left_out},
    )


def _labels(obj: ReadOnlyObject) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def board_of(product: str) -> tuple[Gpu | None, str]:
    """Return the board of a product's label, and the profile where the strategy is ``single``."""
    plain, _, suffix = product.partition("-MIG-")
    for board in catalogue.load().gpus.values():
        if board.product == plain:
            profile = unescape_profile(suffix)
            return board, profile if profile in board.profiles else ""
    return None, ""


def _gpus(node: ReadOnlyObject, board: Gpu, single: str) -> int:
    """Return the number of GPUs; under ``single`` the label counts instances, so as many as these fill at least."""
    count = int(_labels(node).get(_COUNT, "0"))
    return -(-count // board.profile(single).max_count) if single else count


def _offered(node: ReadOnlyObject) -> Mapping[str, int]:
    status = node.get("status") or {}
    return count_resources(node["metadata"]["name"], status.get("allocatable") or {})


def _profiles(resources: Mapping[str, int], board: Gpu | None, single: str) -> dict[str, int]:
    """Return counts by profile of counts by resource; of no board, by the name in the resource."""
    boards = catalogue.load().gpus.values() if board is None else [board]
    by_resource = {profile.resource: name for one in boards for name, profile in one.profiles.items()}
    found: Counter[str] = Counter()
    for resource, count in resources.items():
        if resource == GPU_RESOURCE:
            found[single or WHOLE] += count
        elif resource in by_resource:
            found[by_resource[resource]] += count
    return {name: count for name, count in found.items() if count}


def _size(board: Gpu, name: str) -> tuple[int, int]:
    if name == WHOLE:
        return board.memory_slices, board.compute_slices
    return board.profile(name).memory_slices, board.profile(name).compute_slices


def _line(owner: str, board: Gpu, name: str, count: int, price: float | None) -> Line:
    if name == WHOLE:
        usd = None if price is None else count * price
        return Line(owner, count, count * board.memory_slices, count * board.compute_slices, Fraction(count), usd)
    return line(owner, board.name, name, count, price)


def _namespaces(
    uses: Sequence[NodeUse], owners: Mapping[str, Mapping[str, Mapping[str, int]]], prices: Mapping[str, float]
) -> Iterable[Line]:
    """Yield a line for each namespace, and one for the rest; together they are the price of all GPUs."""
    lines: dict[str, Line] = {}
    idle = Line("")
    for use in uses:
        board, price = catalogue.gpu(use.model), prices.get(use.model)
        here = [
            _line(owner, board, name, count, price)
            for owner, by_node in owners.items()
            for name, count in by_node.get(use.node, {}).items()
        ]
        shares = sum((one.gpus for one in here), Fraction(0))
        # Shares of a GPU can exceed it (see `cost`); which GPU it is, is not known here, so a node's are cut together.
        cut = Fraction(use.gpus) / shares if shares > use.gpus else Fraction(1)
        for one in here:
            part = one.gpus * cut
            usd = None if price is None else float(part) * price
            more = Line(one.owner, one.instances, one.memory_slices, one.compute_slices, part, usd)
            lines[one.owner] = lines.get(one.owner, Line(one.owner)).plus(more)
        rest = use.gpus - shares * cut
        idle = idle.plus(Line("", gpus=rest, usd_per_hour=None if price is None else float(rest) * price))
    yield from (lines[owner] for owner in sorted(lines))
    if uses:
        yield idle
