"""From a plan to what the GPU operator's MIG manager reads: layouts in mig-parted's format, and a label a node.

A layout names counts for each GPU of a node, by index. The GPUs of a node are taken in the order in which the fleet
lists them, so a fleet lists them by index. A GPU without instances gets its MIG mode switched off: under the device
plugin's ``mixed`` strategy one that is on and empty would stop the plugin on the whole node.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml

from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu
from inferstack.mig.errors import LayoutError
from inferstack.mig.fleet import Fleet, FleetGpu
from inferstack.mig.fragmentation import fragmentation_score, gpu_fragmentation, used_slices
from inferstack.mig.layout import GpuState, apply_layout, mig_disabled
from inferstack.mig.mig_parted import VERSION, Layout, dump_config, parse_config
from inferstack.mig.planner.diff import Diff
from inferstack.mig.planner.patterns import instance_sets
from inferstack.mig.resources import WHOLE, escape_profile

States = tuple[GpuState, ...]
_LONGEST = 63
"""Of a label's value."""


@dataclass(frozen=True)
class NodeChange:
    """One node to be reconfigured, and the layout that its label is to name."""

    node: str
    layout: str


@dataclass(frozen=True)
class Output:
    """What is to be written."""

    config: Mapping[str, Any]
    """The content of mig-parted's ``config.yaml``: the layouts that were there, then the new ones."""
    layouts: Mapping[str, str]
    """The value of the label ``nvidia.com/mig.config`` by node, of the nodes whose counts change."""
    added: tuple[str, ...]
    """Layouts that were not there."""


@dataclass(frozen=True)
class Loose:
    """A GPU on which more may be broken up than planned, as a layout cannot say where an instance begins."""

    node: str
    gpu: str
    planned: int
    """Fragmentation by the plan."""
    worst: int
    """Fragmentation where the driver and the device plugin choose worst."""
    recut: bool
    """False: its counts stay the same, so mig-parted leaves its instances where they are."""


def loose(before: Fleet, after: Fleet) -> tuple[Loose, ...]:
    """Return the GPUs that a layout of counts can leave more broken up than the plan says.

    mig-parted creates instances without a placement, so the driver chooses their starts, and the device plugin which of
    equal instances a pod gets. Every legal choice is looked at; GPUs that the plan does not touch are left out.
    """
    found = []
    for old, new in zip(before.gpus, after.gpus, strict=True):
        if old == new:
            continue
        recut = Counter(s.profile for s in old.instances) != Counter(s.profile for s in new.instances)
        used = Counter(seat.profile for seat in new.instances if not seat.idle)
        idle = Counter(seat.profile for seat in new.instances if seat.idle)
        fixed = None if recut else tuple(sorted((seat.start, seat.profile) for seat in old.instances))
        worst = _worst(new.model, tuple(sorted(used.items())), tuple(sorted(idle.items())), fixed)
        if worst > (planned := gpu_fragmentation(new)):
            found.append(Loose(new.node, new.name, planned, worst, recut))
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def _worst(
    model: str,
    used: tuple[tuple[str, int], ...],
    idle: tuple[tuple[str, int], ...],
    fixed: tuple[tuple[int, str], ...] | None,
) -> int:
    """Return the worst fragmentation of used instances, beside which the idle ones fit too."""
    wanted = Counter(dict(used))
    every = wanted + Counter(dict(idle))
    whole_sets = [
        come
        for come, _, _ in instance_sets(model, (), every, fixed)
        if len(come) == every.total() and Counter(name for _, name in come) == every
    ]
    return max(
        fragmentation_score(model, *used_slices(model, seats))
        for come in whole_sets
        for seats in itertools.combinations(come, wanted.total())
        if Counter(name for _, name in seats) == wanted
    )


def node_order(diff: Diff, layouts: Mapping[str, str]) -> tuple[NodeChange, ...]:
    """Return the nodes in the order in which they should be reconfigured.

    Args:
        diff: the steps; a node comes where its first GPU changes.
        layouts: as in `Output`; a node that is not in it keeps its counts and is left out.
    """
    return tuple(NodeChange(node, layouts[node]) for node in diff.nodes if node in layouts)


def make_output(before: Fleet, after: Fleet, existing: str | None = None) -> Output:
    """Make the layouts and labels that lead from one fleet to another.

    A layout that already means the same on a node keeps its name; equal nodes share one.

    Args:
        before: the fleet as it is.
        after: as planned, with the same GPUs.
        existing: text of the mig-parted file in use.

    Raises:
        ConfigError: ``existing`` is not mig-parted's v1.
        LayoutError: a node has GPUs of two boards.
    """
    known: dict[str, Layout] = parse_config(existing) if existing is not None else {}
    configs: dict[str, Any] = dict(yaml.safe_load(existing)["mig-configs"]) if existing is not None else {}
    now = dict(node_states(before))
    layouts: dict[str, str] = {}
    names: dict[tuple[str, States], str] = {}
    added: list[str] = []
    for node, (board, states) in node_states(after).items():
        if now[node] == (board, states):
            continue
        key = board.name, states
        if key not in names:
            found = next((name for name, layout in sorted(known.items()) if means(layout, board, states)), None)
            if found is None:
                found = _free_name(states, known)
                configs[found] = make_layout(states)
                known[found] = parse_config(dump_config({"version": VERSION, "mig-configs": {"new": configs[found]}}))[
                    "new"
                ]
                added.append(found)
            names[key] = found
        layouts[node] = names[key]
    return Output(MappingProxyType({"version": VERSION, "mig-configs": configs}), layouts, tuple(added))


def node_states(fleet: Fleet) -> dict[str, tuple[Gpu, States]]:
    """Return board and counts of each node.

    Raises:
        LayoutError: a node has GPUs of two boards, which one layout's counts would not be checked for.
    """
    nodes: dict[str, list[FleetGpu]] = {}
    for gpu in fleet.gpus:
        nodes.setdefault(gpu.node, []).append(gpu)
    found = {}
    for node, gpus in nodes.items():
        boards = sorted({gpu.model for gpu in gpus})
        if len(boards) > 1:
            raise LayoutError(f"{node}: has GPUs of two boards, {' and '.join(boards)}: no layout is made for it")
        found[node] = catalogue.gpu(boards[0]), tuple(_state(gpu) for gpu in gpus)
    return found


def _state(gpu: FleetGpu) -> GpuState:
    counts = Counter(seat.profile for seat in gpu.instances)
    return GpuState(bool(counts), MappingProxyType(dict(sorted(counts.items()))))


def means(layout: Layout, board: Gpu, states: States) -> bool:
    """Tell whether a layout makes exactly this of a node, whatever its GPUs are now."""
    if not all(any(rule.matches(index, board.pci_device_ids) for rule in layout) for index in range(len(states))):
        return False
    try:
        return apply_layout(layout, board, mig_disabled(len(states))) == states
    except LayoutError:
        return False


def make_layout(states: States) -> list[dict[str, Any]]:
    """Make the entries of a layout: one for each set of equal GPUs, ``all`` where they are all equal."""
    groups = list(_groups(states))
    return [
        {
            "devices": "all" if len(groups) == 1 else devices,
            "mig-enabled": state.enabled,
            **({"mig-devices": dict(state.profiles)} if state.enabled else {}),
        }
        for devices, state in groups
    ]


def _groups(states: States) -> Iterator[tuple[list[int], GpuState]]:
    """Yield equal GPUs in the order of the first of each."""
    for state in dict.fromkeys(states):
        yield [index for index, other in enumerate(states) if other == state], state


def layout_name(states: States) -> str:
    """Return a name that says what the layout is: ``0-3_7x1g.10gb_4-7_2x3g.40gb``, ``all_1x7g.80gb``, ``all_whole``.

    It is a legal label value. One that would be too long is cut and ends in a digest of all of it.
    """
    groups = list(_groups(states))
    told = "_".join(
        f"{'all' if len(groups) == 1 else _ranges(devices)}_"
        + (".".join(f"{count}x{escape_profile(name)}" for name, count in state.profiles.items()) or WHOLE)
        for devices, state in groups
    )
    return told if len(told) <= _LONGEST else _cut(told, states)


def _cut(told: str, states: States) -> str:
    content = json.dumps(make_layout(states), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return re.sub(r"[^0-9a-z]+$", "", told[: _LONGEST - 9]) + "-" + digest


def _free_name(states: States, known: Mapping[str, Layout]) -> str:
    name = layout_name(states)
    return name if name not in known else _cut(name, states)


def _ranges(devices: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for index in devices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ".".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
