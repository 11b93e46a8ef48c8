"""A fleet's GPUs and the MIG instances on them: the types that cost, fragmentation and the planner share."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from inferstack.mig import catalogue
from inferstack.mig.errors import LayoutError

Scope = Literal["instance", "gpu", "node"]
"""What creating an instance interrupts: no pod, the pods of its GPU, or the pods of all GPUs of its node."""


@dataclass(frozen=True, order=True)
class Instance:
    """One MIG instance and its user. Without ``pod`` and ``demand`` it is idle and may be removed or used."""

    start: int
    """First unit of the memory axis."""
    profile: str
    pod: str = ""
    """The pod that runs on it, unique in the fleet. Empty in a plan for a newly served demand."""
    demand: str = ""
    """The demand that the pod counts towards, for the spread limit."""
    pinned: bool = False
    """Whether the pod must not be moved."""

    @property
    def idle(self) -> bool:
        """Whether nobody uses it."""
        return not self.pod and not self.demand


@dataclass(frozen=True)
class FleetGpu:
    """One GPU and the instances on it."""

    name: str
    """Unique in the fleet."""
    node: str
    model: str
    """Name of the GPU model in the catalogue."""
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class Fleet:
    """All GPUs.

    Raises:
        LayoutError: a duplicate name, a pinned instance without a pod, or instances that a GPU cannot carry together.
        CatalogueError: a GPU model that is not in the catalogue.
    """

    gpus: tuple[FleetGpu, ...]
    scope: Scope = "gpu"
    """``gpu``: a GPU is reconfigured as a whole, which stops every pod on it. NVIDIA/mig-parted removes all instances
    of a GPU before it creates any (``SetMigConfig`` in ``pkg/mig/config/config.go``).
    ``node``: the GPU operator's MIG manager acts on a node label and first stops the GPU clients of the whole node
    (mig-parted ``pkg/mig/reconfigure/reconfigure.go``). A pod's node must be known, its GPU need not be.
    ``instance``: single instances are removed and created beside running ones, as the driver allows."""

    def __post_init__(self) -> None:
        for what, names in (
            ("GPU", [gpu.name for gpu in self.gpus]),
            ("pod", [instance.pod for gpu in self.gpus for instance in gpu.instances if instance.pod]),
        ):
            if twice := sorted(name for name, count in Counter(names).items() if count > 1):
                raise LayoutError(f"the {what} {twice[0]} is in the fleet twice")
        if self.scope not in get_args(Scope):
            raise LayoutError(f"the scope {self.scope!r} is none of {', '.join(get_args(Scope))}")
        for gpu in self.gpus:
            for instance in gpu.instances:
                if instance.pinned and not instance.pod:
                    raise LayoutError(f"{gpu.name}: the instance at {instance.start} is pinned, but no pod is on it")
            if not is_legal(gpu.model, gpu.instances):
                placements = ", ".join(f"{instance.profile}@{instance.start}" for instance in gpu.instances)
                raise LayoutError(f"{gpu.name}: {gpu.model} cannot hold {placements}")


def is_legal(model: str, instances: tuple[Instance, ...]) -> bool:
    """Return whether a GPU can carry these instances at these starts, by the rules of `inferstack.mig.placement`."""
    return _is_legal(model, tuple([(instance.start, instance.profile) for instance in instances]))


@functools.lru_cache(maxsize=65536)
def _is_legal(model: str, instances: tuple[tuple[int, str], ...]) -> bool:
    gpu_model = catalogue.gpu(model)
    taken = compute = extended = 0
    media: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for start, name in instances:
        profile = gpu_model.profiles.get(name)
        if profile is None or start not in profile.starts:
            return False
        mask = ((1 << profile.memory_slices) - 1) << start
        if taken & mask:
            return False
        taken |= mask
        compute += profile.compute_slices
        extended += profile.media_extensions
        media.update(profile.engines)
        counts[name] += 1
        if counts[name] > profile.max_count:
            return False
    if compute > gpu_model.compute_slices or extended > 1:
        return False
    return all(media[engine] <= total for engine, total in gpu_model.engines.items() if engine != "copy")
