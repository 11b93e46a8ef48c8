"""The output of the planner for the GPU operator's MIG manager: mig-parted layouts, and the layout label of each node.

A layout gives instance counts for each GPU of a node by index, so a fleet must list the GPUs of a node by index. MIG is
disabled on a GPU without instances: under the device plugin's ``mixed`` strategy, a GPU with MIG enabled but without an
instance stops the plugin on the whole node.
"""

from __future__ import annotations

import hashlib
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
from inferstack.mig.layout import GpuState, apply_layout, mig_disabled
from inferstack.mig.mig_parted import VERSION, Layout, dump_config, parse_config
from inferstack.mig.planner.diff import Diff
from inferstack.mig.resources import WHOLE, escape_profile

States = tuple[GpuState, ...]
_MAX_LABEL_LENGTH = 63
"""Maximum length of a label value."""


@dataclass(frozen=True)
class NodeChange:
    """A node to reconfigure, and the new value of its layout label."""

    node: str
    layout: str


@dataclass(frozen=True)
class Output:
    """The layouts and labels to apply."""

    config: Mapping[str, Any]
    """The content of mig-parted's ``config.yaml``: the existing layouts, then the new ones."""
    layouts: Mapping[str, str]
    """The value of the label ``nvidia.com/mig.config`` by node, for nodes whose counts change."""
    added: tuple[str, ...]
    """Names of the new layouts."""


def node_order(diff: Diff, layouts: Mapping[str, str]) -> tuple[NodeChange, ...]:
    """Return the nodes in the order of their reconfiguration.

    Args:
        diff: the steps. A node is ordered by its first reconfigured GPU.
        layouts: as in `Output`. Other nodes keep their counts and are omitted.
    """
    return tuple(NodeChange(node, layouts[node]) for node in diff.nodes if node in layouts)


def make_output(before: Fleet, after: Fleet, existing: str | None = None) -> Output:
    """Return the layouts and labels that turn one fleet into another.

    An existing layout with the same effect is reused. Equal nodes share a layout.

    Args:
        before: the current fleet.
        after: the planned fleet, with the same GPUs.
        existing: text of the mig-parted file in use.

    Raises:
        ConfigError: ``existing`` is not a mig-parted v1 configuration.
        LayoutError: a node has GPUs of two models.
    """
    layouts_by_name: dict[str, Layout] = parse_config(existing) if existing is not None else {}
    configs: dict[str, Any] = dict(yaml.safe_load(existing)["mig-configs"]) if existing is not None else {}
    current = dict(node_states(before))
    layouts: dict[str, str] = {}
    names: dict[tuple[str, States], str] = {}
    added: list[str] = []
    for node, (gpu_model, states) in node_states(after).items():
        if current[node] == (gpu_model, states):
            continue
        key = gpu_model.name, states
        if key not in names:
            name = next(
                (name for name, layout in sorted(layouts_by_name.items()) if produces(layout, gpu_model, states)), None
            )
            if name is None:
                name = _free_name(states, layouts_by_name)
                configs[name] = make_layout(states)
                layouts_by_name[name] = parse_config(
                    dump_config({"version": VERSION, "mig-configs": {"new": configs[name]}})
                )["new"]
                added.append(name)
            names[key] = name
        layouts[node] = names[key]
    return Output(MappingProxyType({"version": VERSION, "mig-configs": configs}), layouts, tuple(added))


def node_states(fleet: Fleet) -> dict[str, tuple[Gpu, States]]:
    """Return the GPU model and the GPU states of each node.

    Raises:
        LayoutError: a node has GPUs of two models; the counts of a layout are checked against one model only.
    """
    nodes: dict[str, list[FleetGpu]] = {}
    for gpu in fleet.gpus:
        nodes.setdefault(gpu.node, []).append(gpu)
    name = {}
    for node, gpus in nodes.items():
        gpu_models = sorted({gpu.model for gpu in gpus})
        if len(gpu_models) > 1:
            raise LayoutError(f"{node}: GPUs of two models, {' and '.join(gpu_models)}, cannot share a layout")
        name[node] = catalogue.gpu(gpu_models[0]), tuple(_state(gpu) for gpu in gpus)
    return name


def _state(gpu: FleetGpu) -> GpuState:
    counts = Counter(instance.profile for instance in gpu.instances)
    return GpuState(bool(counts), MappingProxyType(dict(sorted(counts.items()))))


def produces(layout: Layout, gpu_model: Gpu, states: States) -> bool:
    """Return whether a layout leads to exactly these states, whatever the current ones are."""
    if not all(any(rule.matches(index, gpu_model.pci_device_ids) for rule in layout) for index in range(len(states))):
        return False
    try:
        return apply_layout(layout, gpu_model, mig_disabled(len(states))) == states
    except LayoutError:
        return False


def make_layout(states: States) -> list[dict[str, Any]]:
    """Return the entries of a layout: one for each set of equal GPUs, or one for ``all``."""
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
    """Yield the indexes of equal GPUs and their state, ordered by first index."""
    for state in dict.fromkeys(states):
        yield [index for index, other in enumerate(states) if other == state], state


def layout_name(states: States) -> str:
    """Return a descriptive name: ``0-3_7x1g.10gb_4-7_2x3g.40gb``, ``all_1x7g.80gb``, ``all_whole``.

    The name is a valid label value. A longer name is truncated and ends in a digest of the layout.
    """
    groups = list(_groups(states))
    name = "_".join(
        f"{'all' if len(groups) == 1 else _ranges(devices)}_"
        + (".".join(f"{count}x{escape_profile(name)}" for name, count in state.profiles.items()) or WHOLE)
        for devices, state in groups
    )
    return name if len(name) <= _MAX_LABEL_LENGTH else _shorten(name, states)


def _shorten(name: str, states: States) -> str:
    content = json.dumps(make_layout(states), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return re.sub(r"[^0-9a-z]+$", "", name[: _MAX_LABEL_LENGTH - 9]) + "-" + digest


def _free_name(states: States, layouts_by_name: Mapping[str, Layout]) -> str:
    name = layout_name(states)
    return name if name not in layouts_by_name else _shorten(name, states)


def _ranges(devices: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for index in devices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ".".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
