"""From a layout to the GPUs of a node, and from those to the resources that the NVIDIA device plugin publishes.

The plugin's rules are those of NVIDIA/k8s-device-plugin ``internal/rm/device_map.go``:

* none: every GPU is one ``nvidia.com/gpu``, cut or not;
* single: all GPUs whole, or all cut into instances of one kind, published as ``nvidia.com/gpu``;
* mixed: whole GPUs as ``nvidia.com/gpu``, instances as ``nvidia.com/mig-<profile>``;
* single and mixed: a GPU with MIG mode on and no instance stops the plugin on the whole node, and so does, under
  single, a mix of whole and cut GPUs or of profiles.
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
from inferstack.mig.placement import check, place
from inferstack.mig.resources import GPU_RESOURCE

__all__ = [
    "GpuState",
    "Layout",
    "Published",
    "Strategy",
    "check",
    "dump_states",
    "expand",
    "load_states",
    "make_mig_parted_config",
    "parse_config",
    "place",
    "published",
    "whole",
]

Strategy = Literal["none", "single", "mixed"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)


@dataclass(frozen=True)
class GpuState:
    """MIG mode of one GPU and the instances on it."""

    enabled: bool = False
    profiles: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Instances by profile; counts of 0 are left out."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GpuState):
            return NotImplemented
        return self.enabled == other.enabled and dict(self.profiles) == dict(other.profiles)

    def __hash__(self) -> int:
        return hash((self.enabled, frozenset(self.profiles.items())))


def whole(count: int) -> tuple[GpuState, ...]:
    """Return ``count`` GPUs as they come from the factory: MIG mode off."""
    return (GpuState(),) * count


def expand(layout: Layout, model: Gpu, current: Sequence[GpuState]) -> tuple[GpuState, ...]:
    """Return what each GPU of a node becomes under a layout.

    The entries act one after the other, as in mig-parted; a GPU that no entry speaks of stays as it is.

    Args:
        layout: entries as parsed.
        model: the GPU that the node has.
        current: the GPUs as they are now, by index.

    Raises:
        LayoutError: an entry that applies asks for what the GPU cannot hold, or no entry applies to any GPU.
    """
    states = list(current)
    touched = False
    for rule in layout:
        for index in range(len(states)):
            if not rule.matches(index, model.pci_device_ids):
                continue
            touched = True
            if rule.enabled:
                check(model, rule.profiles)
            profiles = {name: count for name, count in sorted(rule.profiles.items()) if count}
            states[index] = GpuState(rule.enabled, MappingProxyType(profiles))
    if not touched:
        raise LayoutError(f"no entry of the layout speaks of {len(states)} x {model.name}")
    return tuple(states)


@dataclass(frozen=True)
class Published:
    """What the device plugin registers with the kubelet."""

    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    """Without the devices of lost GPUs."""
    problem: str | None = None
    """Why the plugin refuses to start; then nothing is published."""


def published(
    model: Gpu, states: Sequence[GpuState], strategy: Strategy, lost: Collection[int] = frozenset()
) -> Published:
    """Return the extended resources of a node.

    Args:
        model: the GPU of the node.
        states: its GPUs by index.
        strategy: the device plugin's MIG strategy.
        lost: indices of GPUs whose devices are unhealthy: they stay in the capacity and leave the allocatable.
    """
    if problem := _problem(states, strategy):
        return Published({}, {}, problem)
    capacity: Counter[str] = Counter()
    allocatable: Counter[str] = Counter()
    for index, state in enumerate(states):
        for resource, count in _devices(model, state, strategy).items():
            capacity[resource] += count
            allocatable[resource] += 0 if index in lost else count
    return Published(dict(capacity), dict(allocatable))


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
    """Write the GPUs of a node as one line of JSON: null for a whole GPU, else the instances by profile."""
    return json.dumps([dict(s.profiles) if s.enabled else None for s in states], separators=(",", ":"))


def load_states(text: str) -> tuple[GpuState, ...]:
    """Read what `dump_states` wrote.

    Raises:
        LayoutError: the text is something else.
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
        raise LayoutError(f"{text!r} is no list of GPU states: {error}") from error
