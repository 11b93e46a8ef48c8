"""The state of a node's GPUs under a layout, and the resources that the NVIDIA device plugin advertises for it.

The plugin's rules are those of NVIDIA/k8s-device-plugin ``internal/rm/device_map.go``:

* none: every GPU is one ``nvidia.com/gpu``, partitioned or not;
* single: all GPUs whole, or all partitioned into instances of one profile, advertised as ``nvidia.com/gpu``;
* mixed: whole GPUs as ``nvidia.com/gpu``, instances as ``nvidia.com/mig-<profile>``;
* single and mixed: a GPU with MIG enabled and no instance stops the plugin on the whole node. Under single, so does a
  mix of whole and partitioned GPUs, or of profiles.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from inferstack.mig.catalogue import Gpu
from inferstack.mig.errors import LayoutError
from inferstack.mig.mig_parted import Layout, make_mig_parted_config, parse_config
from inferstack.mig.placement import find_placement, require_placement
from inferstack.mig.resources import GPU_RESOURCE

__all__ = [
    "AdvertisedResources",
    "GpuState",
    "Layout",
    "Strategy",
    "advertised_resources",
    "apply_layout",
    "dump_states",
    "find_placement",
    "load_states",
    "make_mig_parted_config",
    "mig_disabled",
    "parse_config",
    "require_placement",
]

Strategy = Literal["none", "single", "mixed"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)


@dataclass(frozen=True)
class GpuState:
    """MIG mode of one GPU and the instances on it."""

    enabled: bool = False
    profiles: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Instances by profile; counts of 0 are omitted."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GpuState):
            return NotImplemented
        return self.enabled == other.enabled and dict(self.profiles) == dict(other.profiles)

    def __hash__(self) -> int:
        return hash((self.enabled, frozenset(self.profiles.items())))


def mig_disabled(count: int) -> tuple[GpuState, ...]:
    """Return ``count`` GPUs with MIG disabled, as delivered."""
    return (GpuState(),) * count


def apply_layout(layout: Layout, model: Gpu, current: Sequence[GpuState]) -> tuple[GpuState, ...]:
    """Return the state of each GPU of a node after a layout is applied.

    The entries are applied in order, as in mig-parted. A GPU that no entry matches keeps its state.

    Args:
        layout: the parsed entries.
        model: the GPU model of the node.
        current: the current state of its GPUs, by index.

    Raises:
        LayoutError: a matching entry asks for instances that the GPU cannot hold, or no entry matches any GPU.
    """
    states = list(current)
    touched = False
    for rule in layout:
        for index in range(len(states)):
            if not rule.matches(index, model.pci_device_ids):
                continue
            touched = True
            if rule.enabled:
                require_placement(model, rule.profiles)
            profiles = {name: count for name, count in sorted(rule.profiles.items()) if count}
            states[index] = GpuState(rule.enabled, MappingProxyType(profiles))
    if not touched:
        raise LayoutError(f"no entry of the layout matches {len(states)} x {model.name}")
    return tuple(states)


@dataclass(frozen=True)
class AdvertisedResources:
    """The extended resources that the device plugin registers with the kubelet."""

    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    """Without the devices of unhealthy GPUs."""
    problem: str | None = None
    """Why the plugin does not start; then no resource is advertised."""


def advertised_resources(
    model: Gpu, states: Sequence[GpuState], strategy: Strategy, lost: Collection[int] = frozenset()
) -> AdvertisedResources:
    """Return the extended resources of a node.

    Args:
        model: the GPU model of the node.
        states: its GPUs by index.
        strategy: the device plugin's MIG strategy.
        lost: indices of unhealthy GPUs; their devices count towards the capacity but are not allocatable.
    """
    if problem := _problem(states, strategy):
        return AdvertisedResources({}, {}, problem)
    capacity: Counter[str] = Counter()
    allocatable: Counter[str] = Counter()
    for index, state in enumerate(states):
        for resource, count in _devices(model, state, strategy).items():
            capacity[resource] += count
            allocatable[resource] += 0 if index in lost else count
    return AdvertisedResources(dict(capacity), dict(allocatable))


def _problem(states: Sequence[GpuState], strategy: Strategy) -> str | None:
    if strategy == "none":
        return None
    if any(state.enabled and not state.profiles for state in states):
        return "at least one device with migEnabled=true was not configured correctly: it has no MIG device"
    if strategy == "mixed":
        return None
    if len({state.enabled for state in states}) > 1:
        return "all devices on the node must be configured with the same migEnabled value"
    if len({name for state in states for name in state.profiles}) > 1:
        return "more than one MIG device type present on node"
    return None


def _devices(model: Gpu, state: GpuState, strategy: Strategy) -> dict[str, int]:
    if strategy == "none" or not state.enabled:
        return {GPU_RESOURCE: 1}
    if strategy == "single":
        return {GPU_RESOURCE: sum(state.profiles.values())}
    return {model.profile(name).resource: count for name, count in state.profiles.items()}


def dump_states(states: Sequence[GpuState]) -> str:
    """Return the GPUs of a node as one line of JSON: null for a GPU without MIG, else the instances by profile."""
    return json.dumps([dict(s.profiles) if s.enabled else None for s in states], separators=(",", ":"))


def load_states(text: str) -> tuple[GpuState, ...]:
    """Parse the output of `dump_states`.

    Raises:
        LayoutError: the text has another format.
    """
    try:
        entries = json.loads(text)
        return tuple(
            GpuState()
            if entry is None
            else GpuState(True, MappingProxyType({str(k): int(v) for k, v in entry.items()}))
            for entry in entries
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise LayoutError(f"{text!r} is not a list of GPU states: {error}") from error
