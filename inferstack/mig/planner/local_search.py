"""Large-neighbourhood search: replan small groups of GPUs exactly, as long as the budget lasts.

See Shaw, "Using Constraint Programming and Local Search Methods to Solve Vehicle Routing Problems", CP 1998. A
neighbourhood is one to three GPUs that are fragmented or have room. The exact search gets its pods, the demand it
serves and the unserved demand. A result is kept if its objective is better, so pods move where that pays off. A kind of
neighbourhood that brought no improvement is not tried again. Under the scope ``node`` the decision whether a node is
reconfigured stays fixed, except that small nodes are also replanned as a whole.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from inferstack.mig import catalogue
from inferstack.mig.fleet import Fleet, FleetGpu, Instance
from inferstack.mig.fragmentation import gpu_fragmentation, used_slices
from inferstack.mig.planner.exact import Boundary, Item, search
from inferstack.mig.planner.model import Budget, Demand, OutOfBudgetError
from inferstack.mig.planner.objective import evaluate, needs_reconfiguration, served_by

_STEPS_EACH = 12_000
"""Budget steps per neighbourhood."""
_MAX_CLASSES = 9
"""GPU classes that neighbourhoods are formed from."""
_MAX_GPUS = 3
_MAX_NODE_GPUS = 4
"""GPUs of the largest node that is replanned as a whole."""

GpuClass = tuple[object, ...]


def improve(before: Fleet, after: Fleet, demands: Sequence[Demand], budget: Budget) -> Fleet:
    """Return a plan at least as good as ``after``.

    Args:
        before: the current fleet.
        after: a plan for it.
        demands: the demands to serve.
        budget: used up, unless no neighbourhood is left to try.
    """
    incumbent = _Incumbent(before, after, demands)
    tried: set[object] = set()
    improved = False
    while budget.left > 0:
        neighbourhood = next(
            (
                (result, signature)
                for result in incumbent.neighbourhoods()
                if (signature := incumbent.signature(result)) not in tried
            ),
            None,
        )
        if neighbourhood is None:
            break
        part = budget.part(_STEPS_EACH)
        try:
            part.take(1)
            improves = incumbent.plan(neighbourhood[0], part)
        except OutOfBudgetError:
            improves = False
        improved |= improves
        if not improves:
            tried.add(neighbourhood[1])
    return Fleet(tuple(incumbent.gpus), after.scope) if improved else after


class _Incumbent:
    """The best plan so far."""

    def __init__(self, before: Fleet, after: Fleet, demands: Sequence[Demand]) -> None:
        self.gpus = list(after.gpus)
        self._before = before.gpus
        self._scope = before.scope
        self._demands = demands
        self._limits = {demand.name: demand.max_per_node for demand in demands if demand.max_per_node is not None}
        counts = served_by(after)
        self._unserved = {demand.name: demand.count - counts[demand.name] for demand in demands}
        self._nodes: dict[str, list[int]] = {}
        for index, gpu in enumerate(self._before):
            self._nodes.setdefault(gpu.node, []).append(index)
        self._gpu_of_pod = {s.pod: index for index, gpu in enumerate(self._before) for s in gpu.instances if s.pod}
        self._instance_keys: dict[int, tuple[tuple[object, ...], ...]] = {}
        self._key_owners: list[tuple[Instance, ...]] = []
        # Fixed at the start: the nodes that the plan reconfigures, or could reconfigure without stopping a pod.
        self._stopped = {node: self._is_stopped(indexes) for node, indexes in self._nodes.items()}
        self._gpus_by_class: dict[GpuClass, dict[int, None]] = {}
        for index in range(len(self.gpus)):
            self._gpus_by_class.setdefault(self._gpu_class(index), {})[index] = None

    def neighbourhoods(self) -> Iterator[tuple[int, ...]]:
        """Yield neighbourhoods as indexes of GPUs, most promising first."""
        any_unserved = any(self._unserved.values())
        ranked_classes = sorted(
            (gpu_class for gpu_class in self._gpus_by_class if any_unserved or self._rank(gpu_class)[0] < 0),
            key=lambda gpu_class: (self._rank(gpu_class), next(iter(self._gpus_by_class[gpu_class]))),
        )[:_MAX_CLASSES]
        first = [
            index
            for gpu_class in ranked_classes
            for index in itertools.islice(self._gpus_by_class[gpu_class], _MAX_GPUS)
        ]
        class_of = {
            index: place for place, gpu_class in enumerate(ranked_classes) for index in self._gpus_by_class[gpu_class]
        }
        for size in range(1, _MAX_GPUS + 1):
            seen: set[tuple[int, ...]] = set()
            for neighbourhood in itertools.combinations(first, size):
                classes = tuple(class_of[index] for index in neighbourhood)
                if classes not in seen:  # GPUs of one class are interchangeable
                    seen.add(classes)
                    yield neighbourhood
        if self._scope == "node":
            nodes = {self._before[index].node: None for index in first}
            yield from (tuple(self._nodes[node]) for node in nodes if len(self._nodes[node]) <= _MAX_NODE_GPUS)

    def signature(self, neighbourhood: Sequence[int]) -> object:
        """Return a key that is equal for neighbourhoods on which replanning has the same effect."""
        limited = [(self._before[index].node, index) for index in neighbourhood] if self._limits else []
        whole = self._is_whole(neighbourhood)
        unserved = tuple(min(count, 8 * len(neighbourhood)) for count in self._unserved.values())
        return tuple(sorted(map(repr, map(self._gpu_class, neighbourhood)))), unserved, whole, tuple(limited)

    def plan(self, neighbourhood: Sequence[int], budget: Budget) -> bool:
        """Replan a neighbourhood. Return whether that improved the plan.

        Raises:
            OutOfBudgetError: the budget ran out.
        """
        inside = set(neighbourhood)
        current = [self.gpus[index] for index in neighbourhood]
        part = [self._part(index, inside) for index in neighbourhood]
        boundary = self._boundary(neighbourhood, inside)
        result = search(Fleet(tuple(part), self._scope), self._items(neighbourhood), budget, boundary)
        old = tuple(self._before[index] for index in neighbourhood)
        if self._key(old, result.gpus, boundary) >= self._key(old, tuple(current), boundary):
            return False
        for index in neighbourhood:
            self._forget(index)
        for index, gpu in zip(neighbourhood, result.gpus, strict=True):
            self._unserved = {
                name: n + _served(self.gpus[index], name) - _served(gpu, name) for name, n in self._unserved.items()
            }
            self.gpus[index] = gpu
        if self._is_whole(neighbourhood):
            self._stopped[old[0].node] = self._is_stopped(neighbourhood)
        for index in neighbourhood:
            self._gpus_by_class.setdefault(self._gpu_class(index), {})[index] = None
        return True

    def _forget(self, index: int) -> None:
        gpu_class = self._gpu_class(index)
        del self._gpus_by_class[gpu_class][index]
        if not self._gpus_by_class[gpu_class]:
            del self._gpus_by_class[gpu_class]

    def _key(self, old: tuple[FleetGpu, ...], new: tuple[FleetGpu, ...], boundary: Boundary) -> tuple[object, ...]:
        result = evaluate(Fleet(old, self._scope), Fleet(new, self._scope), self._demands)
        if not boundary.reconfigured_nodes:
            return result.key
        # Whether a pod stays depends on whether the rest of its node is reconfigured.
        stays = {
            (gpu.name, instance)
            for gpu in new
            if not boundary.reconfigured_nodes[gpu.node]
            for instance in gpu.instances
            if instance.pod
        }
        moved = sum(
            bool(instance.pod) and (gpu.name, instance) not in stays for gpu in old for instance in gpu.instances
        )
        return (*result.key[:3], moved)

    def _is_stopped(self, indexes: Sequence[int]) -> bool:
        pods = any(instance.pod for index in indexes for instance in self._before[index].instances)
        return not pods or any(
            self._before[index] is not self.gpus[index] and needs_reconfiguration(self._before[index], self.gpus[index])
            for index in indexes
        )

    def _is_whole(self, neighbourhood: Sequence[int]) -> bool:
        """Return whether the neighbourhood is one whole node, so that its reconfiguration is not fixed."""
        node = self._before[neighbourhood[0]].node
        return (
            self._scope == "node" and len(neighbourhood) <= _MAX_NODE_GPUS and list(neighbourhood) == self._nodes[node]
        )

    def _part(self, index: int, inside: set[int]) -> FleetGpu:
        """Return a current GPU without the pods that the plan moves out of the neighbourhood."""
        gpu = self._before[index]
        if all(self._stays_inside(instance, inside) for instance in gpu.instances):
            return gpu
        instances = (s if self._stays_inside(s, inside) else Instance(s.start, s.profile) for s in gpu.instances)
        return replace(gpu, instances=tuple(instances))

    def _stays_inside(self, instance: Instance, inside: set[int]) -> bool:
        return not instance.pod or any(s.pod == instance.pod for index in inside for s in self.gpus[index].instances)

    def _items(self, neighbourhood: Sequence[int]) -> list[Item]:
        """Return the items of a neighbourhood: its pods, the demand it serves and the unserved demand."""
        pods: Counter[tuple[str, str, str]] = Counter()
        served_here: Counter[str] = Counter()
        for gpu in (self.gpus[index] for index in neighbourhood):
            for instance in gpu.instances:
                if instance.pod and not instance.pinned:
                    pods[gpu.model, instance.profile, instance.demand] += 1
                elif instance.demand and not instance.pod:
                    served_here[instance.demand] += 1
        result = [
            Item(name, {gpu_model: profile}, count, None, self._limits.get(name))
            for (gpu_model, profile, name), count in sorted(pods.items())
        ]
        gpu_models = sorted({self._before[index].model for index in neighbourhood})
        for demand in sorted(self._demands, key=lambda demand: (-demand.priority, demand.name)):
            classes = {gpu_model: profile for gpu_model in gpu_models if (profile := demand.on(gpu_model))}
            limit = sum(
                catalogue.gpu(self._before[index].model).profiles[classes[self._before[index].model]].max_count
                for index in neighbourhood
                if self._before[index].model in classes
            )
            count = min(served_here[demand.name] + self._unserved[demand.name], limit)
            if count:
                result.append(Item(demand.name, classes, count, demand.priority, demand.max_per_node))
        return result

    def _boundary(self, neighbourhood: Sequence[int], inside: set[int]) -> Boundary:
        nodes = {self._before[index].node for index in neighbourhood}
        pods_elsewhere: dict[str, Counter[str]] = {}
        current_pods: dict[str, Counter[str]] = {}
        for node in nodes if self._limits else ():
            others = [self.gpus[index] for index in self._nodes[node] if index not in inside]
            pods_elsewhere[node] = Counter(
                s.demand for gpu in others for s in gpu.instances if s.demand in self._limits
            )
            current_pods[node] = Counter(
                instance.demand
                for index in self._nodes[node]
                for instance in self._before[index].instances
                if instance.demand in self._limits and not (index in inside and self._stays_inside(instance, inside))
            )
        pods: dict[tuple[str, str, str], list[str]] = {}
        for gpu in (self.gpus[index] for index in neighbourhood):
            for instance in gpu.instances:
                if instance.pod and self._gpu_of_pod[instance.pod] not in inside:
                    pods.setdefault((gpu.model, instance.profile, instance.demand), []).append(instance.pod)
        settled = self._scope == "node" and not self._is_whole(neighbourhood)
        return Boundary(
            pods_elsewhere, current_pods, {node: self._stopped[node] for node in nodes} if settled else {}, pods
        )

    def _rank(self, gpu_class: GpuClass) -> tuple[int, int]:
        gpu = self.gpus[next(iter(self._gpus_by_class[gpu_class]))]
        mask, _ = used_slices(gpu.model, ((s.start, s.profile) for s in gpu.instances if not s.idle))
        return -gpu_fragmentation(gpu), mask.bit_count()

    def _gpu_class(self, index: int) -> GpuClass:
        old, new = self._before[index], self.gpus[index]
        return old.model, self._instance_key(old.instances), self._instance_key(new.instances), self._stopped[old.node]

    def _instance_key(self, instances: tuple[Instance, ...]) -> tuple[tuple[object, ...], ...]:
        """Return the instances without pod names. Cached by identity, because many GPUs share one tuple."""
        if id(instances) not in self._instance_keys:
            classes = tuple((s.start, s.profile, bool(s.pod), s.pinned, s.demand) for s in instances)
            self._key_owners.append(instances)
            self._instance_keys[id(instances)] = classes
        return self._instance_keys[id(instances)]


def _served(gpu: FleetGpu, demand: str) -> int:
    return sum(instance.demand == demand and not instance.pod for instance in gpu.instances)
